"""An independent opinion on TUF repositories: Python's reference implementation, as writer, signer and client.

One request a line on standard input, one answer a line on standard output, all JSON. Files are base64.

    {"op": "write", "shape": {...}}       -> {"generations": [{name: file}, ...]}
    {"op": "base", "id": n, "root": file, "generations": [{name: file}, ...]} -> {}
    {"op": "judge", "base": n, "steps": [{"now": unix, "generation": g, "put": {name: file}, "remove": [name]}],
     "paths": [path, ...], "download": bool} -> {"steps": [verdict, ...]}

A step is one refresh by a client that keeps its store from step to step, against the files of a generation with some of
them changed. It ends at the first refusal. A verdict is
{"ok": false, "error": text, "fetched": [the file that was fetched last]} or
{"ok": true, "versions": [root, timestamp, snapshot, targets], "targets": {path: [length, sha256] or null or {"error": text}},
"fetched": [name, ...]};
where downloads are asked for, a target counts only if its bytes can be fetched under its name and verified.
"""

import base64
import datetime
import functools
import json
import shutil
import sys
import tempfile

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api import exceptions
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer
from tuf.ngclient import FetcherInterface, Updater

UTC = datetime.timezone.utc
ROLES = ("root", "targets", "snapshot", "timestamp")


def encode(files):
    return {name: base64.b64encode(data).decode() for name, data in files.items()}


def decode(files):
    return {name: base64.b64decode(data) for name, data in files.items()}


@functools.cache
def signer(number):
    """The key that 32 bytes of that number make; from 100 on one that is made up now, ECDSA, and from 120 on RSA."""
    if number >= 120:
        return CryptoSigner.generate_rsa()
    if number >= 100:
        return CryptoSigner.generate_ecdsa()
    private = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
    return CryptoSigner(private, SSlibKey.from_crypto(private.public_key()))


class Writer:
    """A repository, written generation by generation: what a server would serve after each."""

    def __init__(self, shape):
        self.shape = shape
        self.now = datetime.datetime.fromtimestamp(shape["now"], UTC)
        self.files = {}
        self.root = None
        self.root_signers = []
        self.versions = {"targets": 0, "snapshot": 0, "timestamp": 0}

    def expires(self, days):
        return self.now + datetime.timedelta(days=days)

    def put(self, name, signed, numbers):
        metadata = Metadata(signed)
        for number in numbers:
            metadata.sign(signer(number), append=True)
        data = metadata.to_bytes(JSONSerializer(compact=self.shape["compact"]))
        self.files[name] = data
        return data

    def pin(self, version, data):
        pin = MetaFile(version=version)
        if self.shape["pins"]:
            pin = MetaFile.from_data(version, data, ["sha256"])
        return pin

    def put_root(self, roles):
        version = self.root.version + 1 if self.root else 1
        root = Root(version=version, expires=self.expires(365), consistent_snapshot=True)
        for role in ROLES:
            for number in roles[role]["keys"]:
                root.add_key(signer(number).public_key, role)
            root.roles[role].threshold = roles[role]["threshold"]
        own = roles["root"]["keys"]
        self.put(f"{version}.root.json", root, [*self.root_signers, *(n for n in own if n not in self.root_signers)])
        self.root, self.root_signers, self.roles = root, own, roles

    def put_all(self, generation):
        for roles in generation["roots"]:
            self.put_root(roles)
        meta = {}
        delegations = None
        if generation["delegations"]:
            keys, roles = {}, {}
            for role in generation["delegations"]:
                name, numbers = role["name"], role["keys"]
                for number in numbers:
                    keys[signer(number).public_key.keyid] = signer(number).public_key
                roles[name] = DelegatedRole(
                    name,
                    [signer(number).public_key.keyid for number in numbers],
                    role["threshold"],
                    role["terminating"],
                    paths=role["paths"],
                )
                targets = Targets(version=role["version"], expires=self.expires(90))
                self.list(targets, role["targets"])
                data = self.put(f"{role['version']}.{name}.json", targets, numbers)
                meta[f"{name}.json"] = self.pin(role["version"], data)
            delegations = Delegations(keys, roles)
        version = {role: self.versions[role] + generation["steps"] for role in self.versions}
        targets = Targets(version=version["targets"], expires=self.expires(90), delegations=delegations)
        self.list(targets, generation["targets"])
        data = self.put(f"{targets.version}.targets.json", targets, self.roles["targets"]["keys"])
        meta["targets.json"] = self.pin(targets.version, data)
        snapshot = Snapshot(version=version["snapshot"], expires=self.expires(7), meta=meta)
        data = self.put(f"{snapshot.version}.snapshot.json", snapshot, self.roles["snapshot"]["keys"])
        pin = self.pin(snapshot.version, data)
        timestamp = Timestamp(version=version["timestamp"], expires=self.expires(7), snapshot_meta=pin)
        self.put("timestamp.json", timestamp, self.roles["timestamp"]["keys"])
        self.versions = version

    def list(self, targets, paths):
        for path in paths:
            targets.targets[path] = TargetFile.from_data(path, path.encode(), ["sha256"])


def write(request):
    writer = Writer(request["shape"])
    generations = []
    for generation in request["shape"]["generations"]:
        writer.put_all(generation)
        generations.append(encode(writer.files))
    return {"generations": generations}


class Memory(FetcherInterface):
    """A server in memory."""

    def __init__(self, files):
        self.files = files
        self.fetched = []

    def _fetch(self, url):
        name = url.removeprefix("memory://")
        self.fetched.append(name)
        if name not in self.files:
            raise exceptions.DownloadHTTPError(f"no {name}", 404)
        yield self.files[name]


BASES = {}


def base(request):
    generations = [decode(files) for files in request["generations"]]
    BASES[request["id"]] = base64.b64decode(request["root"]), generations
    return {}


def look_up(updater, path, download):
    try:
        target = updater.get_targetinfo(path)
        if target and download:
            updater.download_target(target, f"{STORES}/target", "memory://targets")
    except Exception as error:  # whatever it is, the target was refused
        return {"error": describe(error)}
    return target and [target.length, target.hashes.get("sha256")]


def describe(error):
    text = f"{type(error).__name__}: {error}"
    if error.__cause__:
        text += f": {error.__cause__}"
    return text[:300]


def judge(request):
    root, generations = BASES[request["base"]]
    verdicts = []
    store = tempfile.mkdtemp(dir=STORES)
    try:
        for step in request["steps"]:
            files = dict(generations[step["generation"]])
            files.update(decode(step["put"]))
            for name in step["remove"]:
                files.pop(name, None)
            server = Memory(files)
            try:
                updater = Updater(store, "memory://", fetcher=server, bootstrap=root)
                # Private, but the only way to tell it the time: it asks the machine for it.
                trusted = updater._trusted_set
                trusted.reference_time = datetime.datetime.fromtimestamp(step["now"], UTC)
                updater.refresh()
            except Exception as error:  # a client that crashes has not accepted anything either
                verdicts.append({"ok": False, "error": describe(error), "fetched": server.fetched[-1:]})
                break
            versions = [trusted.root.version, trusted.timestamp.version, trusted.snapshot.version, trusted.targets.version]
            targets = {path: look_up(updater, path, request.get("download")) for path in request["paths"]}
            verdicts.append({"ok": True, "versions": versions, "targets": targets, "fetched": server.fetched})
    finally:
        shutil.rmtree(store, ignore_errors=True)
    return {"steps": verdicts}


def main():
    global STORES
    with tempfile.TemporaryDirectory(prefix="suture-oracle-", dir=sys.argv[1]) as STORES:
        for line in sys.stdin:
            request = json.loads(line)
            answer = {"write": write, "base": base, "judge": judge}[request["op"]](request)
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
