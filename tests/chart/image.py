"""What the image is built from and as, read from the Dockerfile: here is nothing that could build it."""

import json
import re
import tomllib
from pathlib import Path

REPO_ROOT = Path(__file__).resolve().parents[2]


def instructions():
    """The Dockerfile's instructions with their arguments, in order."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", (REPO_ROOT / "Dockerfile").read_text(), flags=re.MULTILINE))
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


def stages():
    """By its name, what each stage is made from and what is done in it; the last one, which is the image, is named by nothing."""
    found, arguments, name = {}, {}, None
    for instruction, rest in instructions():
        if instruction == "FROM":
            base, _, name = rest.partition(" AS ")
            for key, value in arguments.items():
                base = base.replace(f"${{{key}}}", value)
            found[name] = (base, [])
        elif instruction == "ARG" and not found:
            key, value = rest.split("=")
            arguments[key] = value
        else:
            found[name][1].append((instruction, rest))
    return found


def image_faults(chart_path):
    """The image runs as the user that the chart says, has the binary where `kubectl exec` finds it, and is built as what ships is."""
    base, image = stages().get("", ("", []))
    last = dict(image)
    builds = [rest for _, done in stages().values() for instruction, rest in done if re.search("chef cook|cargo build", rest)]
    channel = tomllib.loads((REPO_ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
    security = (chart_path / "templates" / "_pod.tpl").read_text()
    user = [re.search(rf"{key}: (\d+)", security)[1] for key in ("runAsUser", "runAsGroup")]
    names = set(stages())
    promises = {
        "bases with tags, of the default registry": all(
            each in names or re.fullmatch(r"[a-z]+:[-.a-z0-9]+", each) and not each.endswith(":latest") for each, _ in stages().values()),
        "the pinned toolchain": stages()["toolchain"][0].startswith(f"rust:{channel}-slim-"),
        "one libc": base.removesuffix("-slim").split(":")[-1] == stages()["toolchain"][0].rsplit("-", 1)[-1],
        "built as what ships": len(builds) == 2 and all(
            flag in each for each in builds for flag in ("--locked", "--profile dist", "--package quintile")),
        "dependencies before sources": [rest for instruction, rest in stages()["build"][1] if instruction == "COPY"] == [
            "--from=recipe /build/recipe.json recipe.json", ". ."],
        "the user of the chart": last.get("USER") == ":".join(user),
        "a place to write that is the user's": any(f"--owner={user[0]} --group={user[1]}" in rest and rest.endswith(last["WORKDIR"])
                                                   for instruction, rest in image if instruction == "RUN"),
        "the binary": "/build/target/dist/quintile /usr/local/bin/quintile" in last.get("COPY", ""),
        "its entry point": json.loads(last.get("ENTRYPOINT", "[]")) == ["/usr/local/bin/quintile"],
        "nothing fetched behind the toolchain": not any(re.search(r"apt-get|curl|wget|^ADD", rest) for _, rest in instructions()),
    }
    return [promise for promise, kept in promises.items() if not kept]


def ignore_faults():
    """The build's context has all that the workspace's manifests and build scripts read, and none of what is built, or secret."""
    lines = [line for line in (REPO_ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    let_in = [line.removeprefix("!") for line in lines if line.startswith("!")]

    def is_in(path):
        return any(path == each or path.startswith(f"{each}/") for each in let_in)
    faults = [] if lines[0] == "*" else ["what is not named is let in"]
    members = tomllib.loads((REPO_ROOT / "Cargo.toml").read_text())["workspace"]["members"]
    needed = {"Cargo.toml", "Cargo.lock", "proto", *(f"{member}/{part}" for member in members for part in ("Cargo.toml", "src"))}
    for source in sorted((REPO_ROOT / "crates").rglob("*.rs")):
        code = source.read_text().split("#[cfg(test)]")[0]
        if not re.search(r"tests?(/|\.rs$)|_tests\.rs$", str(source.relative_to(REPO_ROOT))):
            needed |= {str((source.parent / name).resolve().relative_to(REPO_ROOT))
                       for name in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', code)}
    faults += [f"{each} stays outside" for each in sorted(needed) if not is_in(each)]
    faults += [f"{each} is not there" for each in let_in if not (REPO_ROOT / each).exists()]
    return faults + [f"{each} is let in" for each in ("target", ".git", "quintile-data", "tests/data", "rust-toolchain.toml") if is_in(each)]
