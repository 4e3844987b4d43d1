// The clients that the tests drive.
import type { Client } from './client.ts'
import { confluent } from './confluent.ts'
import { java } from './java.ts'
import { kafkajs } from './kafkajs.ts'
import { kcat } from './kcat.ts'

export const clients: readonly Client[] = [java, kcat, confluent, kafkajs]
