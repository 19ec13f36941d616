#!/usr/bin/env python3
"""Counts the instructions of the hot pure functions, where timing noise would hide a regression.

The cases are those of the benchmarks. A count is the number of instructions per element; it includes
dropping the results and excludes creating the inputs. A count more than 10 % above that of
tests/counts.txt fails; one more than 10 % below is pointed out. Another compiler or libc generates other
instructions from the same source: in that case differences are shown and no count fails.

  tests/counts.py            compares with tests/counts.txt
  tests/counts.py --accept   records the current counts; commit the file with the reason
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "tests/counts.txt"
BENCHES = [
    ("gimlet-core", "hub"),
    ("gimlet-record", "record"),
    ("gimlet-transport", "encode"),
    ("gimlet-transport-tcp", "frame"),
]
# Permitted deviation of a count, as a share of the recorded one.
SLACK = 0.10
HEADER = "# Instructions per element: tests/counts.py compares, tests/counts.py --accept writes."
# Selects libc's baseline memcpy and memcmp, so that counts do not depend on the processor.
PLAIN = "glibc.cpu.hwcaps=-AVX2,-AVX_Fast_Unaligned_Load,-ERMS,-SSSE3,-SSE4_1"


def toolchain():
    """Returns the compiler, libc and architecture, which determine the instructions besides the source."""
    rustc = subprocess.run(["rustc", "-V"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    version = " ".join(rustc.stdout.split()[:2])
    return ", ".join([version, " ".join(platform.libc_ver()), platform.machine()])


def programs():
    """Builds the benchmarks and returns their paths, in the order of BENCHES."""
    command = ["cargo", "build", "--locked", "--profile", "counts"]
    for package, bench in BENCHES:
        command += ["--package", package, "--bench", bench]
    command += ["--message-format", "json-render-diagnostics"]
    env = {**os.environ, "RUSTFLAGS": ""}
    built = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    if built.returncode:
        sys.exit("the benchmarks failed to build: see the errors above")
    messages = map(json.loads, built.stdout.splitlines())
    found = {message["target"]["name"]: message["executable"]
             for message in messages if message.get("executable")}
    return [found[bench] for _, bench in BENCHES]


def count(program):
    """Returns {case: instructions per element} of one program, from one run of all its cases."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--quiet", "--tool=callgrind",
                   "--callgrind-out-file=%s/sum" % folder,
                   "--toggle-collect=gimlet_bench::measured*", "--dump-before=gimlet_bench::mark*",
                   program, "--count"]
        env = {**os.environ, "GLIBC_TUNABLES": PLAIN}
        run = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True)
        if run.returncode:
            sys.exit("%s failed under valgrind" % program)
        found = {}
        for number, line in enumerate(run.stdout.splitlines(), 1):
            case, elements = line.split("\t")
            # Every case writes two sums: one for the time before its rounds, one for its rounds.
            text = Path(folder, "sum.%d" % (2 * number)).read_text(encoding="utf-8")
            instructions = int(re.search(r"^totals: (\d+)", text, re.MULTILINE)[1])
            if not instructions:
                sys.exit("%s: valgrind did not see the measured function" % case)
            found[case] = round(instructions / int(elements), 1)
        return found


def read():
    """Returns the toolchain of the recorded counts, and {case: count}."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    rows = (line.split(maxsplit=1) for line in lines if not line.startswith("#"))
    return lines[1].lstrip("# "), {case: float(number) for number, case in rows}


def write(counts):
    rows = ["%8.1f  %s" % (number, case) for case, number in counts.items()]
    text = "\n".join([HEADER, "# " + toolchain(), *rows, ""])
    TABLE.write_text(text, encoding="utf-8")


def compare(recorded, counts):
    """Prints both; returns missing and surplus cases of the table, and counts that are too high."""
    mismatches = ["%s: recorded, but the benchmarks have no such case" % case
               for case in recorded if case not in counts]
    high = []
    print("%8s %9s  case" % ("now", "recorded"))
    for case, now in counts.items():
        was = recorded.get(case)
        if was is None:
            print("%8.1f %9s  %s" % (now, "-", case))
            mismatches.append("%s: %.1f instructions per element, none recorded" % (case, now))
            continue
        change = now / was - 1
        note = "  (--accept records the lower count)" if change < -SLACK else ""
        print("%8.1f %9.1f  %s: %+.1f %%%s" % (now, was, case, 100 * change, note))
        if change > SLACK:
            high.append("%s: %.1f instructions per element; %.1f are recorded, at most %.1f pass"
                        % (case, now, was, was * (1 + SLACK)))
    return mismatches, high


def main():
    if sys.argv[1:] not in ([], ["--accept"]):
        print(__doc__)
        return 64
    if not shutil.which("valgrind"):
        print("valgrind is not installed: instructions are not counted, this check is skipped")
        return 0
    counts = {}
    for program in programs():
        counts.update(count(program))
    if sys.argv[1:]:
        write(counts)
        print("%d counts recorded in %s" % (len(counts), TABLE.relative_to(ROOT)))
        return 0
    made_with, recorded = read()
    mismatches, high = compare(recorded, counts)
    for line in mismatches + high:
        print(line)
    if made_with != toolchain():
        print("recorded with %s, counted with %s: differences are shown, no count fails"
              % (made_with, toolchain()))
        high = []
    if mismatches or high:
        print("if this change is intended, record it with tests/counts.py --accept and give the reason in "
              "the commit")
    return 1 if mismatches or high else 0


if __name__ == "__main__":
    sys.exit(main())
