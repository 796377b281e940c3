# ERRNO CALL,... COMMAND [ARG]...: executes the command under a seccomp filter that has these system calls fail.
import ctypes, os, struct, sys

# From 424 on the numbers are those of every architecture.
NUMBERS = {"open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "openat2": 437,
           "mount_setattr": 442}
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000

errno, calls, command = int(sys.argv[1]), sys.argv[2].split(","), sys.argv[3:]
code = struct.pack("HBBI", LOAD, 0, 0, 0)
for call in calls:
    code += struct.pack("HBBI", EQUAL, 0, 1, NUMBERS[call]) + struct.pack("HBBI", RETURN, 0, 0, ERRNO | errno)
code += struct.pack("HBBI", RETURN, 0, 0, ALLOW)
program = ctypes.create_string_buffer(code)
filter = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(program))
libc = ctypes.CDLL(None, use_errno=True)
# PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP with SECCOMP_MODE_FILTER
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.create_string_buffer(filter), 0, 0):
    sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
os.execvp(command[0], command)
