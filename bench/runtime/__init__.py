"""The machine: devices, processes, files that survive a kill, memory, and the terminal."""
