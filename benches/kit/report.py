"""Tables in Markdown."""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def measured_on(machine: dict[str, str]) -> str:
    peers = f"nginx {machine['nginx']}, nchan {machine['nchan']}"
    return (f"Measured on {machine['date']}: {machine['processor']}, {machine['cores']} cores, {machine['kernel']}; "
            f"tidewire {machine['tidewire']} (tree {machine['commit']}); {peers}.")
