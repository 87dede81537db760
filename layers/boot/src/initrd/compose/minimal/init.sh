#!@BUSYBOX@ sh
# Loads the drivers of the devices that the kernel finds, mounts the root that the command line names, starts its init.

busybox=@BUSYBOX@
findfs='@FINDFS@'
modprobe=@MODPROBE@

fail() {
    # Who starts without a root has none to report to; the kernel's `panic=` decides what comes next.
    echo "initrd: $1" >/dev/console
    $busybox sleep 5
    exit 1
}

$busybox mount -t proc -o nosuid,noexec,nodev proc /proc
$busybox mount -t sysfs -o nosuid,noexec,nodev sysfs /sys
$busybox mount -t devtmpfs -o nosuid,mode=0755 devtmpfs /dev
$busybox mount -t tmpfs -o nosuid,nodev,mode=0755 tmpfs /run

root=
type=
flags=
access=ro
init=/sbin/init
set -f
for argument in $($busybox cat /proc/cmdline); do
    case $argument in
        root=*) root=${argument#root=} ;;
        rootfstype=*) type=${argument#rootfstype=} ;;
        rootflags=*) flags=${argument#rootflags=} ;;
        ro | rw) access=$argument ;;
        init=*) init=${argument#init=} ;;
    esac
done
set +f
case $root in
    UUID=* | LABEL=* | PARTUUID=* | PARTLABEL=* | /dev/*) ;;
    *) fail "the command line has root=$root: expected UUID=, PARTUUID=, LABEL=, PARTLABEL= or a device" ;;
esac

$modprobe -a -q -b $($busybox cat /etc/modules)

load() {
    $busybox find /sys/devices -name modalias -exec $busybox cat {} + 2>/dev/null | $busybox sort -u |
        $busybox tr '\n' '\0' | $busybox xargs -0 $modprobe -a -q -b 2>/dev/null
}

find_root() {
    case $root in
        /dev/*) device=$root ;;
        *) device=$($findfs "$root" 2>/dev/null) ;;
    esac
    [ -b "$device" ]
}

seconds=0
while load; ! find_root; do
    [ "$seconds" -lt 90 ] || fail "no device for root=$root after 90 seconds"
    seconds=$((seconds + 1))
    $busybox sleep 1
done

$busybox mount ${type:+-t "$type"} -o "$access${flags:+,$flags}" "$device" /sysroot ||
    fail "$device cannot be mounted as the root"
[ -x "/sysroot$init" ] || [ -L "/sysroot$init" ] || fail "the root has no $init"

for directory in /dev /proc /sys /run; do
    $busybox mount -o move $directory /sysroot$directory
done
exec $busybox switch_root -c /dev/console /sysroot "$init" "$@"
fail "the root's $init cannot be started"
