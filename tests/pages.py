#!/usr/bin/env python3
"""Compares the documentation and deploy/ with the configuration and metrics of the server.

Checks that docs/configuration.md lists exactly the keys of server/gimlet.toml, with their environment
variables and defaults; that docs/operations.md lists every metric; and that every GIMLET_ variable named
in a page or in deploy/ exists. Changes no file.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Names that are not settings of gimlet: test variables, and prefixes written with the placeholder "…".
FOREIGN = re.compile(r"GIMLET_TEST_\w*|GIMLET_|GIMLET_[A-Z]+__")
SUFFIXES = {".md", ".yaml", ".tpl", ".txt", ".service", ".example", ".sh", ""}


def server_keys():
    """Returns {(section or "", key): default as text} from the configuration template.

    A section that may occur several times is commented out as a whole; its name ends with __0.
    """
    found, section, mark = {}, "", ""
    for line in (ROOT / "server/gimlet.toml").read_text(encoding="utf-8").splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section, mark = header[1], ""
        elif header := re.fullmatch(r"#\[\[(\w+)\]\]", line):
            section, mark = header[1] + "__0", "#"
        elif entry := re.fullmatch(mark + r"(\w+) = (.*)", line):
            found[section, entry[1]] = entry[2].strip('"')
    return found


def page_keys():
    """Returns {(section or "", key): (variable, default)} from the tables of the page."""
    found, section = {}, ""
    for line in (ROOT / "docs/configuration.md").read_text(encoding="utf-8").splitlines():
        if header := re.match(r"## \[\[(\w+)\]\]", line):
            section = header[1] + "__0"
        elif header := re.match(r"## \[?(\w+)\]?", line):
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
            yield "docs/configuration.md has a row for %s, which is not a key of gimlet" % name
        else:
            given, default = page[section, key]
            if given != variable(section, key):
                yield "the environment variable of %s is %s, docs/configuration.md says %s" % (
                    name, variable(section, key), given)
            wanted = server[section, key]
            if wanted and default != "`%s`" % wanted:
                yield "the default of %s is %s, docs/configuration.md says %s" % (name, wanted, default)
            if not wanted and default.startswith("`"):
                yield "%s has no default, docs/configuration.md says %s" % (name, default)


def wrong_metrics():
    """Yields the differences between the metrics of the server and those of the page."""
    source = (ROOT / "server/web/src/metrics.rs").read_text(encoding="utf-8").split("#[cfg(test)]")[0]
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    served = set(re.findall(r'"(gimlet_\w+)"', source))
    shown = set(re.findall(r"`(gimlet_\w+?)`", page))
    for name in sorted(served - shown):
        yield "docs/operations.md does not list the metric %s" % name
    for name in sorted(shown - served - {"gimlet_core"}):
        yield "docs/operations.md lists the metric %s, which gimlet does not have" % name
    # tests/observability.py compares them with a running server; this finds a renamed metric without one.
    for path in sorted((ROOT / "deploy/prometheus").glob("*.yml")) + [ROOT / "deploy/grafana/gimlet.json"]:
        text = path.read_text(encoding="utf-8")
        read = {re.sub(r"_(bucket|count|sum)$", "", it) for it in re.findall(r"\b(gimlet_\w+)\b(?!:)", text)}
        for name in sorted(read - served):
            yield "%s reads the metric %s, which gimlet does not have" % (path.relative_to(ROOT), name)


def texts():
    yield ROOT / "README.md"
    for folder in ("docs", "deploy", "tests/python"):
        yield from (path for path in sorted((ROOT / folder).rglob("*"))
                    if path.is_file() and path.suffix in SUFFIXES)


def unknown_variables(known):
    for path in texts():
        for name in sorted(set(re.findall(r"GIMLET_[A-Z0-9_]*", path.read_text(encoding="utf-8")))):
            if name not in known and not FOREIGN.fullmatch(name):
                yield "%s names %s, which is not a variable of gimlet" % (path.relative_to(ROOT), name)


def main():
    server = server_keys()
    known = {variable(section, key) for section, key in server}
    wrong = [*wrong_rows(server, page_keys()), *wrong_metrics(), *unknown_variables(known)]
    for line in wrong:
        print(line)
    print("%d keys, %d mistakes" % (len(server), len(wrong)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
