#!/bin/sh
# Assembles the root folder of the image: image.sh BINARY FOLDER
#
# An image of a distribution would be three times the size of gimlet. gimlet needs the C library, root
# certificates for calls to others, a folder for data and one for its control socket. BusyBox is there for the
# health check, the pause before a pod stops, and a shell in a running container. tests/image.py starts gimlet
# in such a folder.
set -eu
binary=$1 root=$2

mkdir -p "$root/bin" "$root/etc/ssl/certs" "$root/usr/local/bin"
install -m 0755 "$binary" "$root/usr/local/bin/gimlet"
# The libraries and their loader, at the paths where the loader looks for them.
ldd "$binary" | grep -o '/[^ )]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
install -m 0755 /bin/busybox "$root/bin/busybox"
for program in cat ls ps sh sleep wget; do
    ln -sf busybox "$root/bin/$program"
done
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
echo 'root:x:0:0::/:/bin/sh
gimlet:x:10001:10001::/data:/bin/sh' >"$root/etc/passwd"
install -d -m 1777 "$root/tmp"
install -d -m 0700 -o 10001 -g 10001 "$root/data"
