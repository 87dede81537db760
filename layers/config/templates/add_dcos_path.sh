# shellcheck shell=sh
# For /bin/sh and whatever else reads /etc/profile: the product's programs, once.
case ":$PATH:" in
*:/opt/mesosphere/bin:*) ;;
*) export PATH="/opt/mesosphere/bin:$PATH" ;;
esac
