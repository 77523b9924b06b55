// Makes one push with a client that @grpc/proto-loader made at run time, and prints the answer as JSON.
//
//     node push.cjs files FOLDER TARGET     from the proto files below FOLDER
//     node push.cjs set FILE TARGET         from the descriptor set FILE
"use strict";

const fs = require("node:fs");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [source, place, target] = process.argv.slice(2);
// Names of fields as in the proto files: of a descriptor set the loader makes no others.
const options = { keepCase: true, enums: String };
const definition =
  source === "files"
    ? loader.loadSync("pushsidecar/xg/v1/push_service.proto", { includeDirs: [place], ...options })
    : loader.loadFileDescriptorSetFromBuffer(fs.readFileSync(place), options);
const { PushService } = grpc.loadPackageDefinition(definition).pushsidecar.xg.v1;
const client = new PushService(target, grpc.credentials.createInsecure());
const request = {
  token: "sim-node",
  android_notification: { title: "Hello", content: "Your order is on its way." },
};
client.Push(request, { deadline: Date.now() + 30_000 }, (error, response) => {
  client.close();
  if (error) {
    throw error;
  }
  console.log(JSON.stringify({ pushId: response.push_id, outcome: response.outcome, attempts: response.attempts }));
});
