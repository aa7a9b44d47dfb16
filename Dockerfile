# The managed plugin's root file system: one static binary, and Open vSwitch from Debian with the libraries it needs.
# `make plugin` compiles the binary into build/ first and then builds and unpacks this image; nothing runs it as is.

ARG DEBIAN=debian:trixie-slim

# hadolint ignore=DL3006
FROM ${DEBIAN} AS switch
SHELL ["/bin/sh", "-euc"]
# Older switches are 5 to 7 times slower in userspace and lose new flows when started early after boot.
ARG OVS_MINIMUM=3.5
# hadolint ignore=DL3008
RUN apt-get -qq update \
 && DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 install --no-install-recommends openvswitch-switch >/dev/null \
 && rm -rf /var/lib/apt/lists/* \
 && version=$(dpkg-query -W -f '${Version}' openvswitch-switch) \
 && { dpkg --compare-versions "$version" ge "$OVS_MINIMUM" \
      || { echo "Open vSwitch $version of ${DEBIAN:-this Debian} is older than $OVS_MINIMUM" >&2; exit 1; }; }
# Programs, the libraries that the loader finds for them, the schema, and the packages' licences.
RUN mkdir -p /rootfs/proc /rootfs/sys /rootfs/dev /rootfs/etc /rootfs/run /rootfs/var /rootfs/host/run /rootfs/host/etc /rootfs/host/var/lib \
 && mkdir -m 1777 /rootfs/tmp \
 && ln -s ../run /rootfs/var/run \
 && for tool in ovs-vswitchd ovsdb-server ovsdb-tool ovs-vsctl ovs-ofctl ovs-appctl ovs-dpctl; do \
      path=$(command -v "$tool"); \
      install -D "$(readlink -f "$path")" "/rootfs/usr/bin/$tool"; \
      ldd "$path" | grep -o '/[^ )]*'; \
    done | sort -u | while read -r lib; do \
      install -D "$(readlink -f "$lib")" "/rootfs$lib"; \
      dpkg-query -S "$(readlink -f "$lib")" | cut -d: -f1; \
    done | sort -u | while read -r package; do \
      install -D -m 644 "/usr/share/doc/$package/copyright" "/rootfs/usr/share/doc/$package/copyright"; \
    done \
 && install -D -m 644 /usr/share/doc/openvswitch-switch/copyright /rootfs/usr/share/doc/openvswitch-switch/copyright \
 && install -D -m 644 /usr/share/openvswitch/vswitch.ovsschema /rootfs/usr/share/openvswitch/vswitch.ovsschema \
 && for tool in /rootfs/usr/bin/*; do chroot /rootfs "/usr/bin/${tool##*/}" --version >/dev/null; done

FROM scratch
COPY --from=switch /rootfs/ /
COPY build/dockstack /bin/dockstack
ENTRYPOINT ["/bin/dockstack", "daemon"]
