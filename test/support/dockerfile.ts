// Replays a Dockerfile where there is no Docker: each stage becomes a folder, in which COPY and RUN are really done, and in
// which absolute paths are looked up. What a base image holds is not replayed: programs come from this machine, Node is ours.

import { cp, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { basename, delimiter, dirname, join, matchesGlob } from 'node:path'
import { runOrThrow } from './child.ts'

export interface Instruction {
  readonly keyword: string
  readonly rest: string
}

/** The last stage, as `docker run` would find it. */
export interface Image {
  /** The folder that stands for the image's root. */
  readonly root: string
  readonly base: string
  readonly workdir: string
  /** The image's own, with paths that lead into `root`, and PATH. */
  readonly env: Readonly<Record<string, string>>
  readonly user: string | undefined
  readonly volumes: readonly string[]
  readonly ports: readonly string[]
  /** What is run: ENTRYPOINT and CMD, with paths that lead into `root`. */
  readonly command: readonly string[]
  readonly healthcheck: readonly string[]
}

interface Stage {
  readonly root: string
  readonly base: string
  workdir: string
  user: string | undefined
  readonly env: Record<string, string>
  readonly volumes: string[]
  readonly ports: string[]
  entrypoint: string[]
  cmd: string[]
  healthcheck: string[]
}

/** Comments and line ends taken away. Throws for what is no instruction. */
export function parseDockerfile(text: string): Instruction[] {
  const lines = text.split('\n').filter(line => !/^\s*#/.test(line))
  const joined = lines.join('\n').replace(/\\\n\s*/g, '')
  return joined
    .split('\n')
    .filter(line => line.trim() !== '')
    .map(line => {
      const [, keyword, rest] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? []
      if (keyword === undefined || rest === undefined) throw new Error(`no instruction: ${line}`)
      return { keyword, rest }
    })
}

/** Builds the last stage below `scratch`, with the context's .dockerignore. Throws for an instruction that it cannot replay. */
export async function replayDockerfile(context: string, scratch: string): Promise<Image> {
  const ignored = await readIgnored(context)
  const shims = join(scratch, 'shims')
  await mkdir(shims, { recursive: true })
  // The image's user is none of this machine's.
  await writeFile(join(shims, 'chown'), '#!/bin/sh\n', { mode: 0o755 })
  const path = [shims, dirname(process.execPath), process.env['PATH']].join(delimiter)

  const stages = new Map<string, Stage>()
  let stage: Stage | undefined
  for (const { keyword, rest } of parseDockerfile(await readFile(join(context, 'Dockerfile'), 'utf8'))) {
    if (keyword === 'FROM') {
      const [base = '', , name = 'last'] = rest.split(/\s+/)
      stage = newStage(join(scratch, name), base)
      await mkdir(join(stage.root, 'usr', 'local', 'bin'), { recursive: true })
      stages.set(name, stage)
      continue
    }
    if (stage === undefined) throw new Error(`${keyword} before FROM`)
    const here = stage
    switch (keyword) {
      case 'WORKDIR':
        here.workdir = rest
        await mkdir(join(here.root, rest), { recursive: true })
        break
      case 'COPY':
        await copy(here, rest, stages, { context, ignored })
        break
      case 'RUN':
        await runOrThrow('/bin/sh', ['-c', inStage(here, rest)], {
          cwd: join(here.root, here.workdir),
          env: { ...here.env, PATH: path, NODE_OPTIONS: undefined, npm_config_prefer_offline: 'true' },
          timeout: 240_000
        })
        break
      case 'ENV':
        for (const assignment of rest.trim().split(/\s+/)) {
          const at = assignment.indexOf('=')
          here.env[assignment.slice(0, at)] = assignment.slice(at + 1)
        }
        break
      case 'USER':
        here.user = rest
        break
      case 'VOLUME':
        here.volumes.push(rest)
        break
      case 'EXPOSE':
        here.ports.push(...rest.split(/\s+/))
        break
      case 'HEALTHCHECK':
        here.healthcheck = JSON.parse(rest.replace(/^(--\S+\s+)*CMD\s+/, ''))
        break
      case 'ENTRYPOINT':
        here.entrypoint = JSON.parse(rest)
        break
      case 'CMD':
        here.cmd = JSON.parse(rest)
        break
      default:
        throw new Error(`the replay does not know ${keyword}`)
    }
  }
  if (stage === undefined) throw new Error('no FROM')
  const last = stage
  const env = Object.entries(last.env).map(([name, value]) => [name, inStage(last, value)])
  return {
    ...last,
    env: { ...Object.fromEntries(env), PATH: [join(last.root, 'usr', 'local', 'bin'), path].join(delimiter) },
    command: [...last.entrypoint, ...last.cmd].map(word => inStage(last, word))
  }
}

function newStage(root: string, base: string): Stage {
  const empty = { volumes: [], ports: [], entrypoint: [], cmd: [], healthcheck: [] }
  return { root, base, workdir: '/', user: undefined, env: {}, ...empty }
}

/** Leads the absolute paths of a text into the stage's folder. */
export function inStage({ root }: { readonly root: string }, text: string): string {
  return text.replace(/(^|[\s=:"'])\/(?=[a-z])(?!dev\/)/g, `$1${root}/`)
}

async function copy(
  stage: Stage,
  rest: string,
  stages: ReadonlyMap<string, Stage>,
  { context, ignored }: { context: string; ignored: (path: string) => boolean }
): Promise<void> {
  const words = rest.split(/\s+/)
  const flags = words.filter(word => word.startsWith('--'))
  const names = words.filter(word => !word.startsWith('--'))
  const target = names.pop()!
  const from = flags.find(flag => flag.startsWith('--from='))?.slice('--from='.length)
  const source = from === undefined ? context : stages.get(from)?.root
  if (source === undefined) throw new Error(`COPY --from=${from}: no such stage`)
  const into = target.startsWith('/') ? join(stage.root, target) : join(stage.root, stage.workdir, target)
  for (const name of names) {
    const path = join(source, name)
    // As Docker: of a folder its contents are copied; a file gets the target's name, unless that is a folder.
    const isFolder = (await stat(path)).isDirectory()
    const file = target.endsWith('/') ? join(into, basename(name)) : into
    const isWanted = (found: string) => from !== undefined || found === context || !ignored(found.slice(context.length))
    await cp(path, isFolder ? into : file, {
      recursive: true,
      verbatimSymlinks: true,
      // A folder that is ignored may hold something that is not.
      filter: async found => isWanted(found) || (isFolder && (await stat(found)).isDirectory())
    })
    if (!isFolder && !isWanted(path)) throw new Error(`COPY ${name}: .dockerignore keeps it out`)
    if (isFolder && (await readdir(into)).length === 0) throw new Error(`COPY ${name}: copies nothing`)
  }
}

/** Whether .dockerignore keeps a path out: the last pattern decides that fits it, or a folder above it. */
async function readIgnored(context: string): Promise<(path: string) => boolean> {
  const lines = (await readFile(join(context, '.dockerignore'), 'utf8')).split('\n')
  const patterns = lines.map(line => line.trim()).filter(line => line !== '' && !line.startsWith('#'))
  return path => {
    const parts = path.split('/').filter(part => part !== '')
    const fits = (pattern: string) => parts.some((_, i) => matchesGlob(parts.slice(0, i + 1).join('/'), pattern))
    const last = patterns.findLast(pattern => fits(pattern.replace(/^!/, '')))
    return last !== undefined && !last.startsWith('!')
  }
}
