"""ssh connections: what ``~/.ssh/config`` says, keys, known_hosts, strictly; and the files of a server, by SFTP."""
