// The suite of clients over Apache Kafka itself: what it demands of a broker is what Kafka does.
import { clientSuite } from '../support/client-suite.ts'
import { useKafka } from '../support/servers.ts'

clientSuite('Apache Kafka', () => useKafka().bootstrap, ['kafka'])
