# SPDX-License-Identifier: Apache-2.0
"""The man page, from what the program itself says of its commands and options.

swift-argument-parser has a plug-in for that (GenerateManual), which builds the program and a tool
of its own once more, for debugging. What it reads is this: `--experimental-dump-help`.
"""
import re

EXIT_STATUS = [
    ("0", "Done; or that of COMMAND."),
    ("1", "Something that --fail-on names was seen; for demo: not everything was as expected."),
    ("64", "Wrong usage."),
    ("69", "Nothing can be traced on this kernel."),
    ("74", "Output could not be written."),
    ("77", "Not privileged."),
    ("126, 127", "COMMAND can't be executed, or was not found."),
    ("128+n", "COMMAND was ended by signal n."),
]
ENVIRONMENT = [
    ("MPSCOPE_LOG", "What is told on standard error: warning (the default), info, debug or trace."),
]
EXAMPLES = [
    ("Everything, until Ctrl-C:", "mpscope trace"),
    ("One program, as JSON Lines in a file, with status 1 if a connection fell back:",
     "mpscope trace -o curl.jsonl --fail-on fallback -- curl https://example.org/"),
    ("Who listens, and who is connected:", "mpscope status"),
    ("What stands in the way of a trace, and what to do:", "mpscope doctor"),
]


def escape(text):
    """Text as roff takes it: no line is a request, no character is a command."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return re.sub(r"^\.", r"\\&.", text, flags=re.M)


def bold(text):
    return f"\\fB{escape(text)}\\fR"


def italic(text):
    return f"\\fI{escape(text)}\\fR"


def shown(items):
    return [item for item in items if item.get("shouldDisplay")]


def names(argument):
    """`-o, --output path`."""
    dashes = {"short": "-", "long": "--", "longWithSingleDash": "-"}
    words = ", ".join(bold(dashes[name["kind"]] + name["name"]) for name in argument["names"])
    return words if argument["kind"] == "flag" else f"{words} {italic(argument['valueName'])}"


def paragraphs(text):
    lines = []
    for number, part in enumerate(text.strip().split("\n\n")):
        lines += [".PP"] if number else []
        lines.append(escape(" ".join(part.split())))
    return lines


def sentence(argument):
    text = argument.get("abstract", "").strip()
    more = []
    # Where the words do not name them all.
    missing = [value for value in argument.get("allValues", []) if not re.search(rf"\b{value}\b", text)]
    if missing:
        more.append(f"Values: {', '.join(argument['allValues'])}.")
    if argument.get("defaultValue"):
        more.append(f"Default: {argument['defaultValue']}.")
    if text and not text.endswith("."):
        text += "."
    return escape(" ".join([text] + more).strip())


def synopsis(path, command):
    words = [bold(" ".join(path)), "[" + italic("options") + "]"]
    for argument in shown(command.get("arguments", [])):
        if argument["kind"] != "positional":
            continue
        word = italic(argument["valueName"].upper() if argument["parsingStrategy"] == "postTerminator"
                      else argument["valueName"])
        word += " ..." if argument["isRepeating"] else ""
        if argument["parsingStrategy"] == "postTerminator":
            word = bold("--") + " " + word
        words.append(f"[{word}]" if argument["isOptional"] else word)
    return " ".join(words)


def page(described, version, date):
    """
    - described: what `--experimental-dump-help` printed, read.
    - date: as 2026-01-31.
    """
    root = described["command"]
    name = root["commandName"]
    commands = [command for command in shown(root["subcommands"]) if command["commandName"] != "help"]
    lines = [f'.TH {name.upper()} 8 {date} "{name} {escape(version)}" "System administration"',
             ".SH NAME", f"{name} \\- {escape(root['abstract'][0].lower() + root['abstract'][1:].rstrip('.'))}",
             ".SH SYNOPSIS"]
    for number, command in enumerate(commands):
        lines += ([".br"] if number else []) + [synopsis([name, command["commandName"]], command)]
    lines += [".SH DESCRIPTION", *paragraphs(root.get("discussion", root["abstract"]))]
    for command in commands:
        lines += [f".SH {name.upper()} {escape(command['commandName'].upper())}",
                  *paragraphs(command["abstract"])]
        if command.get("discussion"):
            lines += [".PP", *paragraphs(command["discussion"])]
        for argument in shown(command["arguments"]):
            if argument["kind"] == "positional":
                lines += [".TP", italic(argument["valueName"].upper()), sentence(argument)]
            elif argument["valueName"] not in ["version", "help"]:
                lines += [".TP", names(argument), sentence(argument)]
    lines += [".SH EXIT STATUS"]
    for status, words in EXIT_STATUS:
        lines += [".TP", bold(status), escape(words)]
    lines += [".SH ENVIRONMENT"]
    for variable, words in ENVIRONMENT:
        lines += [".TP", bold(variable), escape(words)]
    lines += [".SH EXAMPLES"]
    for words, example in EXAMPLES:
        lines += [".PP", escape(words), ".PP", ".nf", ".RS", bold(example), ".RE", ".fi"]
    lines += [".SH SEE ALSO", ", ".join(f"{bold(page)}({section})" for page, section in
                                        [("ss", 8), ("nstat", 8), ("ip-mptcp", 8)])]
    return "\n".join(lines) + "\n"
