// What every Kafka client can do with a broker, as tests that run over any broker. Over Apache Kafka they show that the
// tests are right; over another broker, that it is one.
import { describe } from 'vitest'
import { adminClientTests } from './client-suite/admin.ts'
import { errorTests } from './client-suite/errors.ts'
import { groupTests, sharedGroupTests } from './client-suite/groups.ts'
import { produceTests } from './client-suite/produce.ts'
import { timeTests } from './client-suite/times.ts'
import { toolTests } from './client-suite/tools.ts'
import { clients } from './clients/clients.ts'
import type { Need } from './servers.ts'
import { describeWith } from './servers.ts'

/** Runs all over the broker that answers at `bootstrap()`, which is called inside tests only. */
export function clientSuite(name: string, bootstrap: () => string, needs: readonly Need[] = []): void {
  describe(name, () => {
    for (const client of clients) {
      describeWith([...needs, ...client.needs], client.name, () => {
        produceTests(client, bootstrap)
        groupTests(client, bootstrap)
        timeTests(client, bootstrap)
        errorTests(client, bootstrap)
      })
    }
    sharedGroupTests(bootstrap, needs)
    toolTests(bootstrap, needs)
    adminClientTests(bootstrap, needs)
  })
}
