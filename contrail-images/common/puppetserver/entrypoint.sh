#!/bin/bash
# Puppet's server: it signs the certificates of nodes and compiles their catalogs from /etc/puppet/code.
# shellcheck source=contrail-images/lib/entrypoint.sh
. /usr/local/lib/dockstack/entrypoint.sh

setting PUPPET_SERVER puppetserver 'host name by which nodes ask for it; its certificate is for it'
setting PUPPET_DNS_NAMES puppet 'more names of its certificate, separated by commas, at its first start'
setting PUPPET_AUTOSIGN '' 'nodes whose certificates it signs unasked, as names or *.domain, separated by commas; none if empty'
setting PUPPET_INSTANCES 1 'catalogs that it compiles at once'
setting PUPPET_MEMORY 512m 'memory for Java objects'

autosign=false
if [ -n "$PUPPET_AUTOSIGN" ]; then
	autosign=/etc/puppet/autosign.conf
	config $autosign puppet <<<"${PUPPET_AUTOSIGN//,/$'\n'}"
fi
config /etc/puppet/puppet.conf puppet 0644 <<-EOF
	[main]
	cadir = /var/lib/puppetserver/ca
	certname = $PUPPET_SERVER
	dns_alt_names = $PUPPET_SERVER,$PUPPET_DNS_NAMES
	server = $PUPPET_SERVER
	ssldir = /var/lib/puppetserver/ssl
	[server]
	autosign = $autosign
EOF
conf=/etc/puppet/puppetserver/conf.d
config $conf/webserver.conf puppet <<-EOF
	webserver: {
	    client-auth: want
	    ssl-host: 0.0.0.0
	    ssl-port: 8140
	}
EOF
config $conf/dockstack.conf puppet <<-EOF
	jruby-puppet: {
	    max-active-instances: $PUPPET_INSTANCES
	}
	product: {
	    check-for-updates: false
	}
EOF
config /etc/puppet/puppetserver/logback.xml puppet <<-EOF
	<configuration>
	    <appender name="STDOUT" class="ch.qos.logback.core.ConsoleAppender">
	        <encoder><pattern>%d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %-5p [%t] [%c{2}] %m%n</pattern></encoder>
	    </appender>
	    <logger name="org.eclipse.jetty" level="WARN"/>
	    <root level="INFO"><appender-ref ref="STDOUT"/></root>
	</configuration>
EOF
rendered

export JDK_JAVA_OPTIONS="-Xms$PUPPET_MEMORY -Xmx$PUPPET_MEMORY"
mkdir -p /run/puppetserver
chown puppet:puppet /run/puppetserver /var/lib/puppetserver
# At its first start the server makes its certificate authority file by file, and never starts again with a part of it. One
# without this list can't have served anybody.
ca=/var/lib/puppetserver/ca
if [ -e "$ca" ] && [ ! -e "$ca/ca_crl.pem" ]; then
	part=$ca.part.$(date +%s)
	log "the certificate authority in $ca is not whole: its making was interrupted. It is made anew, and what there was is in $part"
	mv "$ca" "$part"
fi
become puppet "$@"
