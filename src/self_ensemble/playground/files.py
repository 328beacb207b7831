"""Files of the playground: the browser itself reads and writes them, the server keeps none."""

from self_ensemble.playground.board import MAX_FILE

SAVE = """(text) => {
  if (!text) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], {type: "application/json"}));
  link.download = "playground.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}"""
# Of a file that is too large so much that the server can tell.
OPEN = """() => new Promise((resolve) => {
  document.getElementById("se-file")?.remove();
  const input = document.createElement("input");
  input.type = "file"; input.accept = ".json,application/json"; input.id = "se-file";
  input.hidden = true;
  document.body.append(input);
  input.onchange = async () => resolve(await input.files[0].slice(0, LIMIT).text());
  input.oncancel = () => resolve("");
  input.click();
})""".replace("LIMIT", str(MAX_FILE + 1))
