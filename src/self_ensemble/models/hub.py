"""Fetching a model's files from the Hugging Face hub, or from its local cache."""

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError is re-exported
    GatedRepoError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import tqdm

from self_ensemble.errors import UserError
from self_ensemble.questions.network import hub_if_reachable

SETTINGS = ("*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")
WEIGHTS = ("*.safetensors",)
CODE = ("*.py",)
# Subfolders hold other formats, and consolidated files hold the same weights a second time.
UNWANTED = ("*/*", "consolidated*")


class _TerminalBar(tqdm):
    """A download's bar, for terminals and not for log files."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        # None means: only where the output is a terminal.
        super().__init__(*args, **{"disable": None, **kwargs})  # type: ignore[no-untyped-call]


def fetch(repo_id: str, revision: str | None, patterns: tuple[str, ...]) -> Path:
    """Download the files that match and return the folder they are in.

    A folder of our own choice of files keeps pickles off the disk, and lets the library read the
    hub the way it reads a local folder. The folder is named after the commit.

    Args:
        repo_id: Hub id, "owner/name".
        revision: Branch, tag or commit; None for the main branch.
        patterns: File name patterns, as `SETTINGS` or `WEIGHTS`.

    Raises:
        UserError: The hub cannot be reached, or has no such model for this user.
    """
    try:
        with hub_if_reachable(f"{repo_id} ({', '.join(patterns)})"):
            folder = snapshot_download(
                repo_id,
                revision=revision,
                allow_patterns=list(patterns),
                ignore_patterns=list(UNWANTED),
                tqdm_class=_TerminalBar,
            )
    except HFValidationError as error:
        raise UserError(
            f"{repo_id!r} is no hub id. Expected 'owner/name', such as Qwen/Qwen3-4B.", "SE-0302"
        ) from error
    except GatedRepoError as error:
        raise UserError(
            f"Model {repo_id!r} is gated. Accept its terms at https://huggingface.co/{repo_id}, "
            "log in with `hf auth login`, or give a local folder as the model.",
            "SE-0302",
        ) from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"The hub has no model {repo_id!r} that you may read. Check the name; if it is "
            "private, log in with `hf auth login`; or give a local folder as the model.",
            "SE-0302",
        ) from error
    except RevisionNotFoundError as error:
        raise UserError(
            f"Model {repo_id!r} has no revision {revision!r} on the hub.", "SE-0302"
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise UserError(
            f"The hub cannot be reached for model {repo_id!r}, and the local cache does not have "
            "it. Connect to the network, or give a local folder or .gguf file as the model.",
            "SE-0311",
        ) from error
    except (HTTPError, OSError) as error:
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines else type(error).__name__
        raise UserError(
            f"The hub did not deliver model {repo_id!r} ({reason}). Try again later, or give a "
            "local folder or .gguf file as the model.",
            "SE-0311",
        ) from error
    return Path(folder)
