"""What is done on the cluster: a program of the standard library, which is brought along as one file.

It is called with the name of an operation, in the directory of the cluster's entry. A request is one line of JSON on
stdin; answers are lines of JSON on stdout. Every operation may be repeated, and any number of them may run at once:

- ``look``: what is there.
- ``put``: store files under the hashes of their contents (``files/``). They come as a tar archive after the request.
- ``join``: make one stored file of several that are pieces of it.
- ``assemble``: make a directory of stored files, by rename.
- ``use``: note the interpreter of later commands.
- ``start``: begin a task, unless it has begun. A task is a shell script that goes on without a connection.
- ``follow``: the output of a task, until it is over.
- ``follow_driver``: the output of an experiment's driver jobs, until the experiment is over.
"""
