package main

import (
	"strings"
	"testing"
)

// The labels that the originals' images had: a line of docker images --filter label=... must still find them.
const originalLabels = `
cassandra             contrail=database
zookeeper             contrail=database
redis                 contrail=common openstack=common
keystone              contrail=common openstack=common node=controller
glance-api            openstack=glance node=controller
nova-api              openstack=nova node=controller
nova-conductor        openstack=nova node=controller
nova-scheduler        openstack=nova node=controller
nova-novncproxy       openstack=nova node=controller
nova-compute          openstack=nova node=compute
libvirt               openstack=nova node=compute
neutron-server        openstack=neutron node=controller
cinder-api            openstack=cinder node=controller
cinder-scheduler      openstack=cinder node=controller
horizon               openstack=horizon node=controller
config-api            contrail=config node=controller
config-device-manager contrail=config node=controller
config-schema         contrail=config node=controller
config-svc-monitor    contrail=config node=controller
analytics-alarm       contrail=analytics node=controller
analytics-api         contrail=analytics node=controller
analytics-collector   contrail=analytics node=controller
analytics-query       contrail=analytics node=controller
analytics-snmp        contrail=analytics node=controller
analytics-topology    contrail=analytics node=controller
control-control       contrail=control node=controller
control-dns           contrail=control node=controller
control-named         contrail=control node=controller
webui-job             contrail=webui node=controller
webui-server          contrail=webui node=controller
vrouter-agent         contrail=vrouter node=compute`

func TestLabelsOfTheOriginals(t *testing.T) {
	g := repository(t)
	for line := range strings.Lines(strings.TrimSpace(originalLabels)) {
		fields := strings.Fields(line)
		i := g.byName[fields[0]]
		if i == nil {
			t.Errorf("there is no image %s", fields[0])
			continue
		}
		labels := i.config().labels
		for _, field := range fields[1:] {
			key, want, _ := strings.Cut(field, "=")
			if got := labels["net.juniper."+key]; got != want {
				t.Errorf("%s: net.juniper.%s is %q, the original had %q", i.file.path, key, got, want)
			}
		}
	}
}
