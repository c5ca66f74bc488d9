"""What every stage needs from the machine: whole files, processes, the project's folders."""
