"""Compiles HLSL with Slang's compiler, which the package slangpy has, to SPIR-V.

It stands in for Direct3D's own compilers, DXC and FXC, which no package for Linux has.

It reads a cast of 0 to an array as the empty initialiser, and compiles every file as shader model 6.2.

    python check_hlsl.py ENTRY_POINT FILE...
"""

import ctypes
import re
import sys
from importlib.util import find_spec
from pathlib import Path

# From slang.h.
SPIRV, HLSL, COMPUTE = 6, 2, 6


def open_compiler():
    # The package itself wants a GPU, its library does not.
    folder = Path(find_spec("slangpy").origin).parent
    slang = ctypes.CDLL(str(next(folder.glob("libslang-compiler.*"))))
    pointers = ("spCreateSession", "spCreateCompileRequest")
    for name in pointers:
        getattr(slang, name).restype = ctypes.c_void_p
    slang.spGetDiagnosticOutput.restype = ctypes.c_char_p
    return slang


def main(entry_point, files):
    slang = open_compiler()
    session = ctypes.c_void_p(slang.spCreateSession(None))
    failed = 0
    for file in files:
        request = ctypes.c_void_p(slang.spCreateCompileRequest(session))
        target = slang.spAddCodeGenTarget(request, SPIRV)
        slang.spSetTargetProfile(request, target, slang.spFindProfile(session, b"cs_6_2"))
        unit = slang.spAddTranslationUnit(request, HLSL, b"kernel")
        # Slang reads the dimensions of a type in a cast the other way round than in a declaration.
        code = re.sub(r"\(\w+(\[\d+\])+\)0", "{}", Path(file).read_text())
        slang.spAddTranslationUnitSourceString(request, unit, file.encode(), code.encode())
        slang.spAddEntryPoint(request, unit, entry_point.encode(), COMPUTE)
        if slang.spCompile(request) != 0:
            failed += 1
            print(f"{file}:\n{slang.spGetDiagnosticOutput(request).decode()[:2000]}", file=sys.stderr)
        slang.spDestroyCompileRequest(request)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
