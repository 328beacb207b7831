"""Your own questions from a CSV file, several methods compared with the original wording."""

from pathlib import Path

import self_ensemble as se

Path("cities.csv").write_text(
    """question,paraphrases,answers
What is the capital of Uruguay?,"[""Uruguay's capital is which city?""]",Montevideo
What is the capital of Norway?,"[""Norway's capital is which city?""]",Oslo
What is the capital of Peru?,"[""Peru's capital is which city?""]",Lima
What is the capital of Kenya?,"[""Kenya's capital is which city?""]",Nairobi
What is the capital of Japan?,"[""Japan's capital is which city?""]",Tokyo
"""
)
# Two questions are set aside as examples in the prompt; three are asked.
se.generate(
    se.DataOptions("cities.csv", num_shots=2),
    methods=["origin", "flex_attention", "avg"],
    options=se.GenerateOptions(num_paraphrases=2),
    output_dir="results",
)
for row in se.analyze("cities.csv", output_dir="results").rows:
    interval = row.accuracy
    print(f"{row.file:20} {interval.value:6.1%} [{interval.low:.1%}, {interval.high:.1%}]")
