"""Weights & Biases sweep files, run here: no account, server or network.

file.py        the sweep file, checked
parameters.py  maps from a quantile to a value
search.py      which values come next: grid, random, bayes
hyperband.py   which runs are stopped early
plan.py        the runs: values, names, folders
check.py       everything is tried on the trainer's parser before the first run
command.py     command lines, as the agent writes them
journal.py     what has been run: sweep.json
history.py     what a run has logged
runner.py      runs, several at a time
"""
