"""Ask a server, with nothing but the standard library.

self-ensemble serve --model smollm2_135m_it
python examples/server_client.py http://127.0.0.1:8000
"""

import json
import sys
from urllib.request import Request, urlopen

if __name__ == "__main__":
    url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"
    with urlopen(f"{url}/v1/models") as reply:
        model = json.load(reply)["data"][0]["id"]
    question = {
        "model": model,
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "wordings": ["France's capital is called what?", "Name the capital of France."],
        "method": "avg",
        "max_tokens": 20,
    }
    asked = Request(
        f"{url}/v1/chat/completions",
        data=json.dumps(question).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urlopen(asked) as reply:
        choice = json.load(reply)["choices"][0]
    print("answer:", choice["message"]["content"])
    for member in choice["ensemble"]["members"]:
        print("  ", member["wording"], "->", member["answer"])
    print("agreement:", choice["ensemble"]["agreement"])
