"""What a rehearsal runs on this machine: its programs, their processes, the engine and the control plane."""
