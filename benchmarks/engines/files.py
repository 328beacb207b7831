"""The same weights in the form that each engine reads, made once and kept.

All come from one GGUF file. Its 4-bit weights widened to float32 are what this engine and
transformers run on, and what other precisions are rounded from: int8 in blocks of 32 (Q8_0),
float16, float32.
"""

import json
import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from self_ensemble.errors import UserError
from self_ensemble.identity.files import cache_folder, read_files
from self_ensemble.models.aliases import resolve
from self_ensemble.models.gguf import is_whole, unpack, unpacked_folder


def gguf_file(model: str) -> Path:
    """The file of a model.

    Raises:
        UserError: The model is no GGUF file.
    """
    source = resolve(model)
    if source.kind not in ("gguf", "packaged"):
        raise UserError(
            f"Engines are compared on one GGUF file; {model!r} is a {source.kind}. "
            "Give --model a .gguf file.",
            "SE-1101",
        )
    return Path(source.location)


def float32_folder(file: Path) -> Path:
    """The model as a folder that transformers reads, in float32.

    Raises:
        UserError: There is no place for it.
    """
    folder = unpacked_folder(file)
    if folder is None or not (is_whole(folder) or unpack(file, folder)):
        raise UserError(f"Cannot unpack {file}: it is too large, or the disk is full.", "SE-1101")
    return folder


def kept(file: Path, kind: str, packages: tuple[str, ...], make: Callable[[Path], None]) -> Path:
    """A folder made from the file, named after all that it depends on; whole or not at all."""
    digest = read_files({"gguf": file})["gguf"].digest.removeprefix("xxh3:")
    made_with = "-".join(f"{name}-{version(name)}" for name in packages)
    folder = cache_folder("engines") / f"{file.stem}-{digest}-{kind}-{made_with}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            new = Path(scratch) / "model"
            new.mkdir()
            make(new)
            new.rename(folder)
    return folder


def requantised(file: Path, kind: str) -> Path:
    """The model as another GGUF file: `Q8_0` or `F16`; norms stay float32."""

    def make(folder: Path) -> None:
        from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType
        from gguf.quants import dequantize, quantize

        reader, path = GGUFReader(file), folder / "model.gguf"
        writer = GGUFWriter(path, reader.get_field("general.architecture").contents())
        for field in reader.fields.values():
            if field.name.startswith("GGUF.") or field.name == "general.architecture":
                continue
            value, first, last = field.contents(), field.types[0], field.types[-1]
            if field.name == "general.file_type":
                value = int(getattr(LlamaFileType, f"MOSTLY_{kind}"))
            item = last if first == GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, value, first, sub_type=item)
        for tensor in reader.tensors:
            values = dequantize(tensor.data, tensor.tensor_type)
            if values.ndim == 1:
                writer.add_tensor(tensor.name, values.astype(np.float32))
            else:
                into = GGMLQuantizationType[kind]
                writer.add_tensor(tensor.name, quantize(values, into), raw_dtype=into)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    return kept(file, kind, ("gguf",), make) / "model.gguf"


def openvino_float32(file: Path) -> Path:
    """OpenVINO GenAI's own graph of the model, with its weights put back to float32.

    It reads no GGUF file in float32. Of one in float16 it makes the graph, and each weight is
    replaced by the float32 one of the same name, from which it must differ by rounding only.
    """

    def make(folder: Path) -> None:
        import openvino
        import openvino_genai
        from openvino import opset13
        from safetensors.numpy import load_file

        copied = folder / "half.gguf"
        shutil.copyfile(requantised(file, "F16"), copied)
        # Saves the graph beside the file.
        openvino_genai.LLMPipeline(str(copied), "CPU", enable_save_ov_model=True)
        exact = load_file(float32_folder(file) / "model.safetensors")
        model = openvino.Core().read_model(folder / "openvino_model.xml")
        missing = {name for name, weight in exact.items() if weight.ndim == 2}
        for node in model.get_ops():
            name = node.get_friendly_name().replace("[", ".").replace("]", "")
            if node.get_type_name() != "Constant" or name not in missing:
                continue
            weight = exact[name].astype(np.float32)
            rough = node.data.astype(np.float32).reshape(weight.shape)
            assert np.allclose(rough, weight, rtol=1e-3, atol=1e-3 * abs(weight).max()), name
            constant = opset13.constant(weight)
            for target in list(node.output(0).get_target_inputs()):
                (widened,) = target.get_node().outputs()  # Convert, float16 to float32
                for reader in list(widened.get_target_inputs()):
                    reader.replace_source_output(constant.output(0))
            missing.discard(name)
        assert not missing - {"lm_head.weight"}, f"not in OpenVINO's graph: {sorted(missing)}"
        openvino.save_model(model, folder / "float32.xml", compress_to_fp16=False)
        for name in ("openvino_model.xml", "openvino_model.bin", copied.name):
            (folder / name).unlink()
        for end in ("xml", "bin"):
            (folder / f"float32.{end}").rename(folder / f"openvino_model.{end}")
        for name in ("config.json", "generation_config.json"):
            shutil.copyfile(float32_folder(file) / name, folder / name)

    return kept(file, "openvino-float32", ("openvino-genai", "transformers"), make)


def ctranslate2_folder(file: Path, precision: str) -> Path:
    """The model as CTranslate2 reads it, `int8` or `float32`."""

    def make(folder: Path) -> None:
        from ctranslate2.converters import TransformersConverter

        converter = TransformersConverter(str(float32_folder(file)))
        converter.convert(str(folder), quantization=precision, force=True)

    return kept(file, f"ctranslate2-{precision}", ("ctranslate2", "transformers"), make)


def eos_ids(file: Path) -> list[int]:
    """The tokens that end an answer, which none does here."""
    settings = json.loads((float32_folder(file) / "generation_config.json").read_text())
    found = settings.get("eos_token_id")
    return [] if found is None else found if isinstance(found, list) else [found]
