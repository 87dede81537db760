# Installs a host for its roles; runs again without harm. For one host, without a server:
#   puppet apply puppet.pp
class dcos (
  Array[Enum[ROLES], 1] $roles,
) {
  $install = @(INSTALL)
    SCRIPT
    | INSTALL

  # One configuration has one id. A host with another one is told so by the installer, and stays as it is.
  exec { 'install DC/OS':
    command => ['/bin/bash', '-c', $install, 'dcos-install'] + $roles,
    path    => ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'],
    # The link is the last thing that an installation makes.
    unless  => 'test -e /opt/mesosphere/packages/dcos-config--setup_CONFIG_ID -a -L /etc/systemd/system/multi-user.target.wants/dcos-setup.service',
    timeout => 3600,
  }

  service { 'dcos-setup':
    enable  => true,
    require => Exec['install DC/OS'],
  }
}

class { 'dcos':
  roles => ['ROLE'],
}
