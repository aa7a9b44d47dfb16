#!/bin/sh
# Makes the database on the first start and then becomes the server. Root's password is $MARIADB_ROOT_PASSWORD.
set -eu
if [ ! -d /var/lib/mysql/mysql ]; then
	chown mysql:mysql /var/lib/mysql
	mariadb-install-db --user=mysql --skip-test-db --auth-root-authentication-method=normal >/dev/null
	cat >/var/lib/mysql/first.sql <<-SQL
		DELETE FROM mysql.global_priv WHERE User = 'root' AND Host <> 'localhost';
		FLUSH PRIVILEGES;
		ALTER USER 'root'@'localhost' IDENTIFIED BY '${MARIADB_ROOT_PASSWORD:?set it in the compose file}';
		CREATE USER 'root'@'%' IDENTIFIED BY '$MARIADB_ROOT_PASSWORD';
		GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;
	SQL
	chown mysql /var/lib/mysql/first.sql
	set -- "$@" --init-file=/var/lib/mysql/first.sql
fi
exec "$@"
