#!/usr/bin/env python3
"""Checks that what the pages and deploy/ say of the configuration is so.

docs/configuration.md has each key of server/gimlet.toml with its name in the environment and its
default, and no other; docs/operations.md has each metric; every GIMLET_ variable named in a page or
in deploy/ exists. Reads only.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Not configuration of gimlet: names of tests, and what the placeholder "…" leaves of a name.
FOREIGN = re.compile(r"GIMLET_TEST_\w*|GIMLET_|GIMLET_[A-Z]+__")
SUFFIXES = {".md", ".yaml", ".tpl", ".txt", ".service", ".example", ".sh", ""}


def keys_of_the_server():
    """{(section or "", key): default as text} from the configuration template."""
    found, section = {}, ""
    for line in (ROOT / "server/gimlet.toml").read_text(encoding="utf-8").splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section = header[1]
        elif entry := re.fullmatch(r"(\w+) = (.*)", line):
            found[section, entry[1]] = entry[2].strip('"')
    return found


def keys_of_the_page():
    """{(section or "", key): (variable, default)} from the tables of the page."""
    found, section = {}, ""
    for line in (ROOT / "docs/configuration.md").read_text(encoding="utf-8").splitlines():
        if header := re.match(r"## \[?(\w+)\]?", line):
            section = "" if header[1] == "General" else header[1]
        elif row := re.match(r"\| `(\w+)` \| `(\w+)` \| (.*?) \|", line):
            found[section, row[1]] = row[2], row[3]
    return found


def variable(section, key):
    return ("GIMLET_%s__%s" % (section, key) if section else "GIMLET_" + key).upper()


def wrong_rows(server, page):
    for section, key in sorted(server.keys() | page.keys()):
        name = "%s.%s" % (section, key)
        if (section, key) not in page:
            yield "docs/configuration.md has no row for %s" % name
        elif (section, key) not in server:
            yield "docs/configuration.md has %s, which gimlet does not know" % name
        else:
            given, default = page[section, key]
            if given != variable(section, key):
                yield "%s is %s in the environment, not %s" % (name, variable(section, key), given)
            wanted = server[section, key]
            if wanted and default != "`%s`" % wanted:
                yield "%s has the default %s, the page says %s" % (name, wanted, default)
            if not wanted and default.startswith("`"):
                yield "%s has no default, the page says %s" % (name, default)


def wrong_metrics():
    """The metrics of the server and those of the page are the same."""
    source = (ROOT / "server/src/metrics.rs").read_text(encoding="utf-8").split("#[cfg(test)]")[0]
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    served = set(re.findall(r'"(gimlet_\w+)"', source))
    shown = set(re.findall(r"`(gimlet_\w+?)`", page))
    for name in sorted(served - shown):
        yield "docs/operations.md does not have the metric %s" % name
    for name in sorted(shown - served - {"gimlet_core"}):
        yield "docs/operations.md has the metric %s, which gimlet does not have" % name


def texts():
    yield ROOT / "README.md"
    for folder in ("docs", "deploy", "tests/python"):
        yield from (path for path in sorted((ROOT / folder).rglob("*"))
                    if path.is_file() and path.suffix in SUFFIXES)


def unknown_variables(known):
    for path in texts():
        for name in sorted(set(re.findall(r"GIMLET_[A-Z0-9_]*", path.read_text(encoding="utf-8")))):
            if name not in known and not FOREIGN.fullmatch(name):
                yield "%s names %s, which gimlet does not know" % (path.relative_to(ROOT), name)


def main():
    server = keys_of_the_server()
    known = {variable(section, key) for section, key in server}
    wrong = [*wrong_rows(server, keys_of_the_page()), *wrong_metrics(), *unknown_variables(known)]
    for line in wrong:
        print(line)
    print("%d keys, %d mistakes" % (len(server), len(wrong)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
