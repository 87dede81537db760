# The command line.

usage() {
    cat <<END
usage: dcos_node_upgrade.sh [OPTIONS]

Brings this host, whatever configuration of the cluster it has, to ${config_id}
of ${cluster_name//[^ -~]/?}. A host that is not well afterwards goes back by itself.
Masters come first, one at a time; then agents.

      --skip-checks         ask neither before nor after whether the host is well
      --no-rollback         stay, however the host is
      --timeout SECONDS     how long the host may take to be well afterwards; 300
  -v, --verbose             say everything that pkgpanda says
      --json                one JSON document on stdout, everything else on stderr
      --secrets FILE        the tar of secrets that 'bake configure' wrote beside the serve directory
      --url URL             fetch from here instead of ${bootstrap_url//[^ -~]/?}
  -h, --help                this text

Exit status:
  0  done, or so already
  1  a step failed, or the host was not well and went back; the same command tries again
  2  wrong usage
  4  a payload is missing, truncated or not what it should be
  5  not root

What is unfinished lies in /opt/.dcos-install and goes away when all is done.
END
}

misused() {
    finish 2 usage "$1" "'dcos_node_upgrade.sh --help' tells what is possible"
}

url='' secrets_tar='' verbose='' options=()

parse_arguments() {
    while [ $# -gt 0 ]; do
        case $1 in
        --secrets | --url | --timeout)
            [ -n "${2:-}" ] || misused "$1 wants a value"
            ;;
        esac
        case $1 in
        --timeout)
            [[ $2 =~ ^[0-9]{1,9}$ ]] || misused "--timeout $2: expected seconds, at most 999999999"
            options+=(--timeout "$2")
            shift
            ;;
        --skip-checks | --no-rollback) options+=("$1") ;;
        -v | --verbose) verbose=yes ;;
        --json) ;; # known since the start
        --secrets) secrets_tar=$2 && shift ;;
        --url) url=$2 && shift ;;
        -*) misused "unknown option $1" ;;
        *) misused "nothing is known of $1: a host keeps its roles" ;;
        esac
        shift
    done
    url=${url:-$bootstrap_url}
    url=${url%/}
    case $url in
    http://* | https://* | file://*) ;;
    *) misused "--url $url: expected http://, https:// or file://" ;;
    esac
    [ -z "$secrets_tar" ] || [ -r "$secrets_tar" ] || misused "--secrets $secrets_tar cannot be read"
}
