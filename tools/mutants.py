"""The planted changes of tests/mutants/*.txt, and the private copy of the tree in which tools/mutate and tools/layers.py plant them."""
import glob
import hashlib
import os
import re
import shutil
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CATALOGUE = os.path.join(ROOT, "tests", "mutants")
CLASSES = ("fsync wait", "term", "condition", "checksum", "truncate", "dedupe", "majority", "order", "decode", "bound",
           "identity")


class Broken(Exception):
    """The catalogue, the build or the tests as they are: no answer about a change."""


# ---- the catalogue -----------------------------------------------------------------------------------------------

class Mutant:
    def __init__(self, source, line, name, kind, path):
        self.where, self.name, self.kind, self.path = f"{source}:{line}", name, kind, path
        self.tests, self.explained, self.hunk = [], "", []

    def old(self):
        return "".join(line[1:] + "\n" for line in self.hunk if line[0] in " -")

    def new(self):
        return "".join(line[1:] + "\n" for line in self.hunk if line[0] in " +")

    def check(self, root):
        """What is wrong with it in this tree, or None."""
        if self.kind not in CLASSES:
            return f"class '{self.kind}' is none of: {', '.join(CLASSES)}"
        if not any(line[0] in "-+" for line in self.hunk) or self.old() == self.new():
            return "it changes nothing"
        try:
            with open(os.path.join(root, self.path), encoding="utf-8") as file:
                count = ("\n" + file.read()).count("\n" + self.old())
        except OSError as error:
            return str(error)
        return None if count == 1 else f"its lines occur {count} times in {self.path}"


def parse(path):
    """Yields the changes of one file; tests/mutants/README.md has the format."""
    mutant, source = None, os.path.relpath(path, ROOT)
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file.read().splitlines(), 1):
            head = re.fullmatch(r"@ (\S+) \[([a-z ]+)\] (\S+)", line)
            if head:
                if mutant:
                    yield mutant
                mutant = Mutant(source, number, *head.groups())
            elif line.startswith("tests: ") and mutant:
                mutant.tests = line[7:].split()
            elif line.startswith("explained: ") and mutant:
                mutant.explained = line[11:]
            elif line[:1] in (" ", "-", "+") and mutant:
                mutant.hunk.append(line)
            elif line and not line.startswith("#"):
                raise Broken(f"{source}:{number}: not understood: {line}")
    if mutant:
        yield mutant


def catalogue():
    mutants = [mutant for path in sorted(glob.glob(os.path.join(CATALOGUE, "*.txt"))) for mutant in parse(path)]
    names = [mutant.name for mutant in mutants]
    for name in names:
        if names.count(name) > 1:
            raise Broken(f"tests/mutants: the name {name} is taken twice")
    return mutants


def check_catalogue(mutants):
    problems = [f"{m.where}: {m.name}: {problem}" for m in mutants for problem in [m.check(ROOT)] if problem]
    for problem in problems:
        print(problem)
    print(f"mutate: {len(mutants)} changes, {len(problems)} that do not apply")
    return 1 if problems else 0


# ---- the private copy ----------------------------------------------------------------------------------------------

class Copy:
    """build/mutate/tree follows the working tree; only files that differ are touched, so that builds stay short."""

    def __init__(self, place, jobs):
        place = os.path.abspath(place)
        self.tree, self.build, self.jobs = os.path.join(place, "tree"), os.path.join(place, "build"), jobs
        os.makedirs(self.tree, exist_ok=True)

    def sync(self):
        out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True,
                             capture_output=True, text=True).stdout
        names = {name for name in out.split("\0") if name and os.path.isfile(os.path.join(ROOT, name))}
        for name in names:
            self.restore(name)
        for folder, _, files in os.walk(self.tree):
            for file in files:
                name = os.path.relpath(os.path.join(folder, file), self.tree)
                if name not in names:
                    os.unlink(os.path.join(self.tree, name))

    def hash(self):
        """Of everything but the catalogue."""
        whole = hashlib.sha256()
        for folder, folders, files in os.walk(self.tree):
            folders.sort()
            for file in sorted(files):
                name = os.path.relpath(os.path.join(folder, file), self.tree)
                if not name.startswith("tests/mutants/"):
                    with open(os.path.join(self.tree, name), "rb") as content:
                        whole.update(name.encode() + b"\0" + content.read())
        return whole.hexdigest()

    def restore(self, name):
        source, target = os.path.join(ROOT, name), os.path.join(self.tree, name)
        with open(source, "rb") as file:
            data = file.read()
        if os.path.isfile(target):
            with open(target, "rb") as file:
                if file.read() == data:
                    return
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as file:
            file.write(data)
        shutil.copymode(source, target)

    def apply(self, mutant):
        problem = mutant.check(self.tree)
        if problem:
            raise Broken(problem)
        path = os.path.join(self.tree, mutant.path)
        with open(path, encoding="utf-8") as file:
            text = "\n" + file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace("\n" + mutant.old(), "\n" + mutant.new())[1:])

    def configure(self):
        """Warnings off: a change may leave a variable unused. Asserts stay on, as in every build."""
        command = ["cmake", "-S", self.tree, "-B", self.build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Mutate",
                   "-DCMAKE_C_FLAGS_MUTATE=-O1 -w", "-DCMAKE_CXX_FLAGS_MUTATE=-O1 -w"]
        if shutil.which("ld.gold"):
            command.append("-DCMAKE_EXE_LINKER_FLAGS=-fuse-ld=gold")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Broken(f"cmake: {done.stderr[-2000:]}")

    def make(self, *targets):
        done = subprocess.run(["ninja", "-C", self.build, f"-j{self.jobs}", *targets], capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            lines = [line for line in done.stdout.splitlines() if "error" in line]
            raise Broken("it does not build: " + (lines[0] if lines else done.stdout[-400:]))
