"""Programs of the runtime that run inside a job's sandbox. Standard library only; started by path."""
