// `millrace/kafka` as connectors find it in the checkout: package.json beside this names it. The package has its own.
export * from '../src/kafka/index.ts'
