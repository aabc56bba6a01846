"""Local runner of Weights & Biases sweep files: no account, server or network.

sweep_file.py  reads and checks the sweep file
parameters.py  maps quantiles to values
search.py      chooses the next values: grid, random, bayes
hyperband.py   decides which runs stop early
plan.py        lists the runs: values, names, folders
check.py       tests all values with the trainer's parser before the first run
command.py     builds command lines as the W&B agent does
journal.py     keeps the state of the sweep: sweep.json
history.py     reads what a run has logged
processes.py   starts the runs' processes, and finds those that a killed sweep has left
runner.py      runs trials, several at a time
"""
