# The command line.

usage() {
    cat <<END
usage: dcos_install.sh [OPTIONS] ROLE...

Installs this host's part of a DC/OS cluster. Roles of this product: ${known_roles[*]+${known_roles[*]}}

  -p, --preflight-only      only check whether this host is fit; a role is optional
  -d, --disable-preflight   do not check
      --json                one JSON document on stdout, everything else on stderr
      --root DIR            install into a mounted root file system; nothing is started
      --secrets FILE        the tar of secrets that 'bake configure' wrote beside the serve directory
      --url URL             fetch from here instead of ${bootstrap_url//[^ -~]/?}
      --no-start            install, but start nothing
      --no-block-dcos-setup start, but do not wait for it
  -h, --help                this text

Exit status:
  0  done, or installed already
  1  a step failed; the same command goes on where it stopped
  2  wrong usage
  3  preflight found something; every finding has its fix
  4  a payload is missing, truncated or not what it should be
  5  not root

What is unfinished lies in /opt/.dcos-install and goes away when all is done.
END
}

misused() {
    finish 2 usage "$1" "'dcos_install.sh --help' tells what is possible"
}

roles=() root='' json='' url='' secrets_tar='' only_preflight='' no_preflight='' no_start='' no_block=''

parse_arguments() {
    local given=() role
    while [ $# -gt 0 ]; do
        case $1 in
        --root | --secrets | --url)
            [ -n "${2:-}" ] || misused "$1 wants a value"
            ;;
        esac
        case $1 in
        -p | --preflight-only) only_preflight=yes ;;
        -d | --disable-preflight) no_preflight=yes ;;
        --json) ;; # known since the start
        --root) root=$2 && shift ;;
        --secrets) secrets_tar=$2 && shift ;;
        --url) url=$2 && shift ;;
        --no-start) no_start=yes ;;
        --no-block-dcos-setup) no_block=yes ;;
        -*) misused "unknown option $1" ;;
        *) given+=("$1") ;;
        esac
        shift
    done
    url=${url:-$bootstrap_url}
    url=${url%/}
    case $url in
    http://* | https://* | file://*) ;;
    *) misused "--url $url: expected http://, https:// or file://" ;;
    esac
    for role in ${given[@]+"${given[@]}"}; do
        is_among "$role" ${known_roles[@]+"${known_roles[@]}"} ||
            misused "unknown role $role; known are: ${known_roles[*]+${known_roles[*]}}"
        is_among "$role" ${roles[@]+"${roles[@]}"} || roles+=("$role")
    done
    refuse_conflicts
    if [ ${#roles[@]} = 0 ] && [ -z "$only_preflight" ]; then
        misused "a role is wanted, one of: ${known_roles[*]+${known_roles[*]}}"
    fi
    if [ -n "$only_preflight" ] && [ -n "$no_preflight" ]; then
        misused '--preflight-only and --disable-preflight leave nothing to do'
    fi
}

is_among() {
    local wanted=$1 name
    shift
    for name; do
        [ "$name" != "$wanted" ] || return 0
    done
    return 1
}

# Each of these runs a Mesos of its own on the same ports and in the same directories.
refuse_conflicts() {
    local role found=''
    for role in ${roles[@]+"${roles[@]}"}; do
        is_among "$role" master slave slave_public || continue
        [ -z "$found" ] || misused "a host is $found or $role, not both"
        found=$role
    done
}
