// The suite of clients over Apache Kafka again, through the proxy: no client can tell the two apart.
import { clientSuite } from '../support/client-suite.ts'
import { describeWith } from '../support/servers.ts'
import { useWorker } from '../support/workers.ts'

describeWith(['kafka'], 'through the proxy', () => {
  const worker = useWorker()
  clientSuite('Apache Kafka', () => worker().bootstrap, ['kafka'])
})
