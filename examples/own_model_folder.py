"""A model of your own, from a folder with safetensors or a .gguf file.

python examples/own_model_folder.py /models/my_model
"""

import sys

from self_ensemble import Ensemble, UserError, load_model

if __name__ == "__main__":
    try:
        model = load_model(sys.argv[1])
    except UserError as refusal:
        # What is not supported says why.
        sys.exit(f"Error: {refusal}")
    print(
        f"{model.name}: {model.model.num_parameters():,} parameters, attention {model.attention}"
    )
    wordings = ["Who wrote Hamlet?", "Hamlet was written by whom?"]
    print("answer:", Ensemble(model, method="flex_attention").answer(wordings))
