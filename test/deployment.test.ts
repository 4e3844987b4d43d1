// The image's configuration, compose.yaml and the Kubernetes examples: what they tell Millrace is valid, and what belongs
// together fits.

import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import kafkaProxy from '../connectors/kafka-proxy/index.ts'
import { bundledConnectors } from '../src/bundled-connectors.ts'
import type { Configuration } from '../src/config.ts'
import { loadConfiguration, workerOptions } from '../src/config.ts'
import type { Values } from '../src/connect/options.ts'
import type { TempFolder } from './support/temp.ts'
import { tempFolder } from './support/temp.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = (name: string) => readFile(join(root, name), 'utf8')

/** The longest that a worker takes to stop: its owed answers, its archive, and some time to close. */
const STOP_SECONDS = 30

afterEach(() => void vi.unstubAllEnvs())

/** Loads /etc/millrace as it is found in `folder`, with a container's environment. */
function load(folder: string, env: Readonly<Record<string, string>>): Configuration {
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)
  const loaded = loadConfiguration(
    { file: join(folder, 'worker.yaml'), set: [`connectors.dir=${join(folder, 'connectors')}`], env },
    bundledConnectors
  )
  expect(namesOf(env).filter(name => !knownNames.includes(name))).toEqual([])
  return loaded
}

const namesOf = (env: Readonly<Record<string, string>>) => Object.keys(env).filter(name => name.startsWith('MILLRACE_'))
const knownNames = [
  ...Object.keys(workerOptions).map(key => `MILLRACE_${key.toUpperCase().replaceAll('.', '_')}`),
  'MILLRACE_CONFIG',
  'MILLRACE_ADVERTISED_HOST'
]

function proxyOf([source]: Configuration['sources']): Values<typeof kafkaProxy.options> {
  expect(source?.connector).toBe(kafkaProxy)
  return source!.values as Values<typeof kafkaProxy.options>
}

/** The image's folder /etc/millrace. */
async function imageConfig(): Promise<TempFolder> {
  const folder = await tempFolder('etc')
  await cp(join(root, 'config', 'docker'), folder.path, { recursive: true })
  return folder
}

/** ENV of the Dockerfile. */
async function imageEnv(): Promise<Record<string, string>> {
  const dockerfile = await read('Dockerfile')
  return Object.fromEntries(
    [...dockerfile.matchAll(/^(?:ENV)? +([A-Z_]+)=(\S+)/gm)].map(([, name, value]) => [name, value])
  )
}

test("the image's configuration: a proxy before the embedded broker, all in /data", async () => {
  await using etc = await imageConfig()
  const env = await imageEnv()
  const { worker, sources, archive } = load(etc.path, env)
  expect(worker['bootstrap.servers']).toBeUndefined()
  expect(worker['data.dir']).toBe('/data')
  expect(archive.values['archive.url']).toBe('file:/data/archive')
  expect(sources).toMatchObject([{ values: { 'advertised.host': 'localhost' } }])
  const written = parse(await read('config/docker/worker.yaml'))
  expect(env['MILLRACE_CONFIG']).toBe(join(dirname(written['connectors.dir']), 'worker.yaml'))

  const dockerfile = await read('Dockerfile')
  const { port } = worker.listeners
  expect(dockerfile).toContain(`http://127.0.0.1:${port}/readyz`)
  const { listen, 'node.port.base': base } = proxyOf(sources)
  expect(dockerfile).toContain(`EXPOSE ${port} ${listen.port} ${base}-${base + 9}\n`)
})

describe('compose.yaml', async () => {
  const { services, volumes } = parse(await read('compose.yaml'), { merge: true })
  const { millrace, kafka, minio, bucket } = services

  test('gives Millrace a configuration for its Kafka and its bucket', async () => {
    await using etc = await imageConfig()
    const mounts: string[][] = millrace.volumes.map((mount: string) => mount.split(':'))
    for (const [source, target] of mounts.filter(([source]) => source!.startsWith('./'))) {
      expect(target).toMatch(/^\/etc\/millrace\//)
      await cp(join(root, source!), join(etc.path, target!.replace('/etc/millrace/', '')))
    }
    const { worker, sources, archive } = load(etc.path, { ...(await imageEnv()), ...asTexts(millrace.environment) })
    expect(mounts).toContainEqual(['millrace', worker['data.dir']])

    const advertised = kafka.environment.KAFKA_ADVERTISED_LISTENERS.replace('PLAINTEXT://', '')
    expect(worker['bootstrap.servers']?.map(({ host, port }) => `${host}:${port}`)).toEqual([advertised])
    expect(archive.connector.name).toBe('s3-archive')
    expect(archive.values['s3.endpoint']).toBe('http://minio:9000')
    expect(bucket.command.join()).toContain(`minio/${new URL(archive.values['archive.url'] as string).host}`)
    expect(millrace.environment).toMatchObject({
      AWS_ACCESS_KEY_ID: minio.environment.MINIO_ROOT_USER,
      AWS_SECRET_ACCESS_KEY: minio.environment.MINIO_ROOT_PASSWORD
    })

    // What clients are told must be what is published.
    const { listen, 'node.port.base': base } = proxyOf(sources)
    const ports = [listen.port, base + kafka.environment.KAFKA_NODE_ID, worker.listeners.port]
    expect(millrace.ports).toEqual(ports.map(port => `127.0.0.1:${port}:${port}`))
  })

  test('starts in order, stops in time, and pins what it pulls', () => {
    expect(Object.keys(services)).toEqual(['kafka', 'minio', 'bucket', 'millrace'])
    for (const { image, build } of Object.values<{ image?: string; build?: string }>(services)) {
      if (build === undefined) expect(image).toMatch(/:(\d+\.\d+\.\d+|RELEASE\.[\dT-]+Z)$/)
    }
    expect(Object.keys(millrace.depends_on).filter(name => !(name in services))).toEqual([])
    expect(millrace.depends_on.kafka.condition).toBe('service_healthy')
    expect(kafka.healthcheck.test).toBeDefined()
    expect(minio.healthcheck.test).toBeDefined()
    expect(Number.parseInt(millrace.stop_grace_period, 10)).toBeGreaterThan(STOP_SECONDS)
    const named = Object.values<{ volumes?: string[] }>(services).flatMap(({ volumes = [] }) => volumes)
    expect(
      named.map(mount => mount.split(':')[0]!).filter(name => !name.startsWith('.') && !(name in volumes))
    ).toEqual([])
  })
})

describe.for(['sidecar-application.yaml', 'sidecar-broker.yaml'])('config/kubernetes/%s', async file => {
  const documents = parseAllDocuments(await read(`config/kubernetes/${file}`))
  const objects = documents.map(document => document.toJS())
  const ofKind = (kind: string) => objects.filter(object => object.kind === kind)
  const [set] = ofKind('StatefulSet')
  const pod = set.spec.template.spec
  const sidecar = [...(pod.initContainers ?? []), ...pod.containers].find(({ name }) => name === 'millrace')

  test('is YAML without faults or strange kinds', () => {
    expect(documents.flatMap(({ errors, warnings }) => [...errors, ...warnings])).toEqual([])
    expect(new Set(objects.map(({ kind }) => kind))).toEqual(new Set(['ConfigMap', 'Service', 'StatefulSet']))
  })

  test('mounts a configuration that loads, and room for its data', async () => {
    await using etc = await tempFolder('etc')
    const configMount = sidecar.volumeMounts.find(({ mountPath }: any) => mountPath === '/etc/millrace')
    const { configMap } = pod.volumes.find(({ name }: any) => name === configMount.name)
    const { data } = ofKind('ConfigMap').find(({ metadata }) => metadata.name === configMap.name)
    expect(Object.keys(data).sort()).toEqual(configMap.items.map(({ key }: any) => key).sort())
    for (const { key, path } of configMap.items) {
      await mkdir(dirname(join(etc.path, path)), { recursive: true })
      await writeFile(join(etc.path, path), data[key])
    }
    const env = Object.fromEntries((sidecar.env ?? []).map(({ name, value = 'x' }: any) => [name, value]))
    const { worker, sources, archive } = load(etc.path, { ...(await imageEnv()), ...env })
    expect(archive.connector.name).toBe('s3-archive')
    expect(parse(data['worker.yaml'])['connectors.dir']).toBe('/etc/millrace/connectors')

    const dataMount = sidecar.volumeMounts.find(({ mountPath }: any) => mountPath === worker['data.dir'])
    const claim = set.spec.volumeClaimTemplates.find(({ metadata }: any) => metadata.name === dataMount.name)
    const gibibytes = Number.parseInt(claim.spec.resources.requests.storage, 10)
    expect(claim.spec.resources.requests.storage).toBe(`${gibibytes}Gi`)
    const planned = worker['wal.max.bytes'] + worker['warm.max.bytes'] + worker['disk.reserve']
    expect(planned).toBeLessThan(0.9 * gibibytes * 2 ** 30)

    const ports = new Map<string, number>(sidecar.ports.map(({ name, containerPort }: any) => [name, containerPort]))
    expect(worker.listeners).toEqual({ host: '0.0.0.0', port: ports.get('http') })
    const { listen, 'node.port.base': base, 'advertised.host': advertised } = proxyOf(sources)
    if (listen.host === '127.0.0.1') {
      const application = JSON.stringify(pod.containers[0])
      expect(application).toContain(`127.0.0.1:${listen.port}`)
    } else {
      const brokers = set.spec.replicas
      const numbers = Array.from({ length: brokers }, (_, id) => base + id)
      expect([...ports.values()]).toEqual([worker.listeners.port, listen.port, ...numbers])
      expect(advertised).toBe(`x.${set.spec.serviceName}.x.svc`)
      expect(worker['bootstrap.servers']?.map(({ host }) => host)).toEqual(
        numbers.map((_, id) => `${set.metadata.name}-${id}.${set.spec.serviceName}`)
      )
    }
  })

  test('probes, stops in time, and asks for no rights', () => {
    for (const [probe, path] of [
      ['startupProbe', '/readyz'],
      ['readinessProbe', '/readyz'],
      ['livenessProbe', '/livez']
    ] as const) {
      expect(sidecar[probe].httpGet).toEqual({ path, port: 'http' })
    }
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(2 * STOP_SECONDS)
    expect(pod.securityContext).toMatchObject({
      runAsNonRoot: true,
      runAsUser: 1000,
      fsGroup: 1000,
      seccompProfile: { type: 'RuntimeDefault' }
    })
    expect(sidecar.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] }
    })
    expect(sidecar.resources).toMatchObject({
      requests: { cpu: expect.any(String), memory: expect.any(String) },
      limits: { memory: expect.any(String) }
    })
  })

  test('selects the pods it makes, and names a service that is there', () => {
    const { labels } = set.spec.template.metadata
    expect(set.spec.selector.matchLabels).toEqual(labels)
    for (const service of ofKind('Service')) expect(service.spec.selector).toEqual(labels)
    expect(ofKind('Service').map(({ metadata }) => metadata.name)).toContain(set.spec.serviceName)
  })
})

test('each Kubernetes example is tested', async () => {
  expect((await readdir(join(root, 'config', 'kubernetes'))).sort()).toEqual([
    'sidecar-application.yaml',
    'sidecar-broker.yaml'
  ])
})

function asTexts(values: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, String(value)]))
}
