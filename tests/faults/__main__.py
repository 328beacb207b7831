"""Run the campaigns long and write their table: `python -m tests.faults --write FILE`."""

import argparse
import platform
import re
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.faults.all_campaigns import CAMPAIGNS
from tests.faults.campaign import Verdict, table_row

HEAD = [
    "| faults | injected | survived | lost | twice | changed | tracebacks |",
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
]
TABLE = re.compile(r"(?<=<!-- faults -->\n).*?(?=<!-- end of faults -->)", re.DOTALL)


def main() -> int:
    """Returns 1 if any fault was not survived."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--only", help="names of campaigns, separated by commas")
    options.add_argument("--write", type=Path, help="page whose table is replaced")
    given = options.parse_args()
    if given.only and given.write:
        options.error("--write writes the whole table; leave out --only")
    begun = time.monotonic()
    only = given.only.split(",") if given.only else [campaign.name for campaign in CAMPAIGNS]
    rows, bad = [], []
    for campaign in CAMPAIGNS:
        if campaign.name not in only:
            continue
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            faults = list(campaign.run(given.seed, Path(folder), campaign.many))
        bad += [fault for fault in faults if fault.verdict != Verdict.SURVIVED]
        rows.append(table_row(campaign.name, faults))
        say(f"{rows[-1]} {time.monotonic() - started:.0f} s")
    for fault in bad:
        say(f"{fault.verdict}: {fault.what}: {fault.seen}")
    if given.write:
        minutes = (time.monotonic() - begun) / 60
        table = "\n".join([*HEAD, *rows, "", made_by(given.seed, minutes), ""])
        page = TABLE.sub(lambda _: table, given.write.read_text())
        given.write.write_text(page)
    return 1 if bad else 0


def made_by(seed: int, minutes: float) -> str:
    """What a reader must know of the table."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    today = f"{datetime.now(UTC):%d %B %Y}".removeprefix("0")
    python = ".".join(platform.python_version_tuple()[:2])
    return (
        f"`make faults`, seed {seed}, {today}: {minutes:.0f} minutes on one thread, "
        f"Python {python}, {versions}."
    )


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a command of this repository


if __name__ == "__main__":
    sys.exit(main())
