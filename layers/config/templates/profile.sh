# shellcheck shell=sh
# Nothing happens while the product is not there.
if [ -r /opt/mesosphere/bin/add_dcos_path.sh ]; then
    # shellcheck source=/dev/null
    . /opt/mesosphere/bin/add_dcos_path.sh
fi
