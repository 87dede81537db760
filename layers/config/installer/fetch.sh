# Files of the product come into the work directory, under the paths that they have in the product.

# The path, digest and size of each: three words in a row.
wanted_files() {
    wanted=("$product_path" "$product_sha256" "$product_size" "$pkgpanda_path" "$pkgpanda_sha256" "$pkgpanda_size"
        ${blobs[@]+"${blobs[@]}"})
}

work_directory() {
    # A link in a mounted root would lead out of it.
    if [ -n "$root" ] && [ -L "$root/opt" ]; then
        printf '%s' "$root/.dcos-install"
    else
        printf '%s' "$root/opt/.dcos-install"
    fi
}

make_work_directory() {
    local try said
    work=$(work_directory)
    mkdir -p -- "${work%/*}" || die 1 "${work%/*} cannot be made" 'make it writable and run the same command again'
    # Another run may make it in this moment, and takes it away when it is done.
    for ((try = 1; try <= 10; try++)); do
        [ ! -L "$work" ] || die 1 "$work is a link" 'remove it and run the same command again'
        if [ ! -d "$work" ] && ! said=$(mkdir -m 700 -- "$work" 2>&1) && [ ! -d "$work" ]; then
            die 1 "$work cannot be made: ${said##*: }" 'make /opt writable and run the same command again'
        fi
        # Held by what this script starts too: a killed run's download ends before the next begins.
        { exec 9<"$work"; } 2>/dev/null || continue
        command -v flock >/dev/null || return 0
        flock -w 60 9 || break
        if [ "$work" -ef /proc/self/fd/9 ]; then return 0; fi
    done
    die 1 "another run is at work in $work" 'wait for it, or end it'
}

needs_network() {
    [ "$payload_size" = 0 ] && [[ $url != file://* ]]
}

downloader() {
    command -v curl || command -v wget || true
}

# is_verified FILE SHA256 SIZE
is_verified() {
    local sum
    [ -f "$1" ] && [ "$(stat -c %s -- "$1")" = "$3" ] || return 1
    sum=$(sha256sum <"$1") || return 1
    [ "${sum%% *}" = "$2" ]
}

size_of() {
    if [ -f "$1" ]; then stat -c %s -- "$1"; else echo 0; fi
}

# fetch_once PATH FILE SIZE: adds what FILE lacks. Status 4: the server has no such file, or another one.
fetch_once() {
    local source=$url/$1 said status=0
    case $url in
    file://*)
        source=${source#file://}
        [ -r "$source" ] || { echo "no such file"; return 4; }
        cat -- "$source" >"$2" || return 1
        return 0
        ;;
    esac
    case $(downloader) in
    */curl)
        said=$(curl -q --globoff --silent --show-error --fail --location --proto '=http,https' \
            --connect-timeout 20 --speed-limit 1 --speed-time 60 --max-filesize "$3" --continue-at - \
            --write-out 'status %{http_code}' --output "$2" --url "$source" 2>&1) || status=$?
        ;;
    */wget)
        said=$(wget --no-config --no-verbose --server-response --tries=1 --timeout=60 --continue \
            --output-document="$2" -- "$source" 2>&1) || status=$?
        # wget tells it in a line of its own; in both cases below it ends with the status.
        if [[ $said =~ HTTP/[0-9.]+\ ([0-9]+) ]]; then said+=$'\n'"status ${BASH_REMATCH[1]}"; fi
        ;;
    *)
        echo 'neither curl nor wget is there'
        return 1
        ;;
    esac
    [ "$status" != 0 ] || return 0
    case ${said##*status } in
    416) rm -f -- "$2" ;; # the server has less than what is here
    404 | 403 | 410)
        echo "the server answers ${said##*status }"
        return 4
        ;;
    esac
    if [[ $(downloader) == */curl ]] && [ "$status" = 63 ]; then
        echo 'the file is longer than it should be'
        return 4
    fi
    # Servers that do not know ranges: from the beginning.
    [ "$status" != 33 ] || rm -f -- "$2"
    said=${said%%status *}
    said=${said%$'\n'}
    echo "${said:-ended with $status}"
    return 1
}

# fetch_file PATH FILE SIZE: goes on with FILE until it has its size. Five tries that bring nothing new are enough.
fetch_file() {
    local said='' status have most=0 try
    for ((try = 1; try <= 5; try++)); do
        have=$(size_of "$2")
        [ "$have" != "$3" ] || return 0
        ((have < $3)) || rm -f -- "$2"
        status=0
        said=$(fetch_once "$1" "$2" "$3") || status=$?
        [ $status != 4 ] || die 4 "$url/$1: $said" 'serve the whole serve directory, then run the same command again'
        # The size is judged with the digest; only a broken connection is tried again.
        [ $status != 0 ] || return 0
        have=$(size_of "$2")
        if ((have > most)); then most=$have try=1; fi
        say "   again in $((try * 2)) s: $(printable "${said##*$'\n'}")"
        sleep $((try * 2))
    done
    die 1 "$url/$1: ${said##*$'\n'}" 'mend the way to the server, then run the same command again; what came stays'
}

fetch_files() {
    local i path part wanted
    wanted_files
    for ((i = 0; i < ${#wanted[@]}; i += 3)); do
        path=${wanted[i]} part=$work/${wanted[i]}.part
        if [ "$(size_of "$work/$path")" = "${wanted[i + 2]}" ]; then continue; fi
        say "   $path"
        mkdir -p -- "${part%/*}"
        fetch_file "$path" "$part" "${wanted[i + 2]}"
    done
}

verify_files() {
    local i path sha256 size wanted
    wanted_files
    for ((i = 0; i < ${#wanted[@]}; i += 3)); do
        path=${wanted[i]} sha256=${wanted[i + 1]} size=${wanted[i + 2]}
        is_verified "$work/$path" "$sha256" "$size" && continue
        rm -f -- "$work/$path"
        if [ "$payload_size" = 0 ] && ! is_verified "$work/$path.part" "$sha256" "$size"; then
            # What an earlier run left may be to blame: once more from the beginning.
            rm -f -- "$work/$path.part"
            mkdir -p -- "$work/${path%/*}"
            fetch_file "$path" "$work/$path.part" "$size"
        fi
        if ! is_verified "$work/$path.part" "$sha256" "$size"; then
            say "   got $(size_of "$work/$path.part") bytes; expected $size bytes with sha256 $sha256"
            rm -f -- "$work/$path.part"
            die 4 "$path is not what it should be" \
                'serve the whole serve directory that this script is from, then run the same command again'
        fi
        mv -f -- "$work/$path.part" "$work/$path"
    done
}
