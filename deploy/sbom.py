"""Writes the software bill of materials of the binary and its web UI: deploy/sbom.py > trivium.cdx.json

CycloneDX 1.6, from Cargo.lock as `cargo metadata` reads it and from ui/app/package-lock.json; the same commit gives the same
bytes. What only tests and builds use is not in it.
"""

import base64
import json
import subprocess
import sys
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = "x86_64-unknown-linux-gnu"


def cargo_packages():
    """Crates that are linked into the binary, and what each depends on."""
    command = ["cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={TARGET}"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    pending, linked = [metadata["resolve"]["root"]], {}
    while pending:
        identifier = pending.pop()
        if identifier in linked:
            continue
        normal = [
            dependency["pkg"]
            for dependency in nodes[identifier]["deps"]
            if any(kind["kind"] is None for kind in dependency["dep_kinds"])
        ]
        linked[identifier] = normal
        pending += normal
    return metadata["resolve"]["root"], packages, linked


def checksums():
    """Hashes of Cargo.lock by name and version."""
    found, entry = {}, {}
    for line in (ROOT / "Cargo.lock").read_text().splitlines():
        if line == "[[package]]":
            entry = {}
        key, _, value = line.partition(" = ")
        entry[key] = value.strip('"')
        if key == "checksum":
            found[entry["name"], entry["version"]] = entry["checksum"]
    return found


def cargo_component(package, hashes):
    purl = f"pkg:cargo/{package['name']}@{package['version']}"
    component = {"type": "library", "bom-ref": purl, "name": package["name"], "version": package["version"], "purl": purl}
    if package["license"]:
        component["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    checksum = hashes.get((package["name"], package["version"]))
    if checksum:
        component["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return component


def npm_packages(lock):
    """Paths in the lock file of what is built into the UI: all else in package.json builds and tests it."""
    builders = ("@sveltejs/vite-plugin-svelte", "axe-core", "playwright-core", "svelte-check", "typescript", "vite", "vitest")
    pending = [f"node_modules/{name}" for name in lock["packages"][""]["devDependencies"] if name not in builders]
    found = set()
    while pending:
        path = pending.pop()
        if path in found:
            continue
        found.add(path)
        for name in lock["packages"][path].get("dependencies", {}):
            # As Node.js looks for it: in the package itself first, then outwards.
            inner = f"{path}/node_modules/{name}"
            pending.append(inner if inner in lock["packages"] else f"node_modules/{name}")
    return sorted(found)


def npm_components():
    """Packages of the web UI."""
    lock = json.loads((ROOT / "ui/app/package-lock.json").read_text())
    for path in npm_packages(lock):
        package = lock["packages"][path]
        name = path.rsplit("node_modules/", 1)[1]
        purl = f"pkg:npm/{name.replace('@', '%40')}@{package['version']}"
        component = {"type": "library", "bom-ref": purl, "name": name, "version": package["version"], "purl": purl}
        if "license" in package:
            component["licenses"] = [{"expression": package["license"]}]
        if package.get("integrity", "").startswith("sha512-"):
            content = base64.b64decode(package["integrity"].removeprefix("sha512-")).hex()
            component["hashes"] = [{"alg": "SHA-512", "content": content}]
        yield component


def main():
    root, packages, linked = cargo_packages()
    hashes = checksums()
    components = {identifier: cargo_component(packages[identifier], hashes) for identifier in linked}
    reference = {identifier: component["bom-ref"] for identifier, component in components.items()}
    dependencies = [
        {"ref": reference[identifier], "dependsOn": sorted(reference[other] for other in others)}
        for identifier, others in linked.items()
    ]
    binary = dict(components.pop(root), type="application")
    libraries = sorted(components.values(), key=lambda component: component["bom-ref"]) + list(npm_components())
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": binary},
        "components": libraries,
        "dependencies": sorted(dependencies, key=lambda dependency: dependency["ref"]),
    }
    text = json.dumps(document, sort_keys=True)
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, text)}"
    json.dump(document, sys.stdout, indent=1, sort_keys=True)
    print()


main()
