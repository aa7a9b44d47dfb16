# What every node has that has nothing of its own.
node default {
  file { '/etc/motd':
    content => "${trusted['certname']} is kept by Puppet.\n",
  }
}
