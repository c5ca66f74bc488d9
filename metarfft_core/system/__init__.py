"""What every stage needs of the machine: whole files, processes, the project's folders."""
