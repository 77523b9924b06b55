package io.github.pushsidecar.interop;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.util.JsonFormat;
import io.github.pushsidecar.client.PushError;
import io.github.pushsidecar.client.PushSidecar;
import io.github.pushsidecar.client.Violation;
import io.github.pushsidecar.xg.v1.PushRequest;
import io.github.pushsidecar.xg.v1.PushResponse;
import io.github.pushsidecar.xg.v1.PushServiceGrpc;
import io.grpc.ChannelCredentials;
import io.grpc.InsecureChannelCredentials;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.MetadataUtils;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicReference;

/**
 * Makes the pushes that it reads, one JSON object a line, and prints what became of each, one JSON object a line.
 *
 * <p>For the tests across languages, whose runners all read and print the same.
 */
public final class Runner {
  private static final Gson JSON = new GsonBuilder().serializeNulls().disableHtmlEscaping().create();

  private final PushSidecar sidecar;

  private Runner(PushSidecar sidecar) {
    this.sidecar = sidecar;
  }

  /**
   * Serves standard input. The arguments are the target, {@code host:port} or {@code unix:/path}, and how many pushes are
   * made at the same time, 1 unless given. {@code PUSH_TLS} names a folder with ca.pem, cert.pem and key.pem, for mutual
   * TLS.
   */
  public static void main(String[] arguments) throws IOException {
    if (arguments.length < 1 || arguments.length > 2) {
      System.err.println("usage: Runner TARGET [IN_FLIGHT]");
      System.exit(2);
    }
    int inFlight = arguments.length > 1 ? Integer.parseInt(arguments[1]) : 1;
    Reader input = new InputStreamReader(System.in, StandardCharsets.UTF_8);
    run(arguments[0], inFlight, input, new PrintStream(System.out, true, StandardCharsets.UTF_8));
  }

  static void run(String target, int inFlight, Reader input, PrintStream output) throws IOException {
    BufferedReader lines = new BufferedReader(input);
    ExecutorService threads = Executors.newFixedThreadPool(inFlight);
    try (PushSidecar sidecar = PushSidecar.builder(target).credentials(credentials(System.getenv("PUSH_TLS"))).build()) {
      Runner runner = new Runner(sidecar);
      List<Future<?>> pushes = new ArrayList<>();
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        if (!line.isBlank()) {
          JsonObject push = JsonParser.parseString(line).getAsJsonObject();
          pushes.add(threads.submit(() -> runner.print(push, output)));
        }
      }
      for (Future<?> push : pushes) {
        push.get();
      }
    } catch (InterruptedException | ExecutionException e) {
      throw new IOException(e);
    } finally {
      threads.shutdownNow();
    }
  }

  /** Returns what a connection with mutual TLS needs, from a folder with ca.pem, cert.pem and key.pem. */
  private static ChannelCredentials credentials(String folder) throws IOException {
    if (folder == null) {
      return InsecureChannelCredentials.create();
    }
    return TlsChannelCredentials.newBuilder()
        .trustManager(new File(folder, "ca.pem"))
        .keyManager(new File(folder, "cert.pem"), new File(folder, "key.pem"))
        .build();
  }

  private Void print(JsonObject push, PrintStream output) throws InvalidProtocolBufferException {
    String outcome = JSON.toJson(push(push));
    synchronized (output) {
      output.println(outcome);
      output.flush();
    }
    return null;
  }

  private JsonObject push(JsonObject line) throws InvalidProtocolBufferException {
    PushRequest.Builder request = PushRequest.newBuilder();
    JsonFormat.parser().merge(line.get("request").toString(), request);
    AtomicReference<Metadata> headers = new AtomicReference<>();
    AtomicReference<Metadata> trailers = new AtomicReference<>();
    PushServiceGrpc.PushServiceBlockingStub stub =
        sidecar.stub().withInterceptors(MetadataUtils.newCaptureMetadataInterceptor(headers, trailers));
    JsonElement timeout = line.get("timeout_s");
    if (timeout != null && !timeout.isJsonNull()) {
      stub = stub.withDeadlineAfter(Duration.ofNanos(Math.round(timeout.getAsDouble() * 1e9)));
    }
    JsonObject outcome = new JsonObject();
    outcome.add("name", line.get("name"));
    try {
      PushResponse response = stub.push(request.build());
      outcome.addProperty("code", "OK");
      outcome.addProperty("message", "");
      outcome.add("response", JsonParser.parseString(JsonFormat.printer().print(response)));
      outcome.add("error", JsonNull.INSTANCE);
      outcome.add("details", new JsonArray());
    } catch (StatusRuntimeException e) {
      PushError error = PushError.of(e);
      outcome.addProperty("code", error.code().name());
      outcome.addProperty("message", error.message());
      outcome.add("response", JsonNull.INSTANCE);
      outcome.add("error", error(error));
      outcome.add("details", details(e));
    }
    outcome.add("trailers", names(trailers.get()));
    return outcome;
  }

  private static JsonObject error(PushError error) {
    JsonArray violations = new JsonArray();
    for (Violation violation : error.violations()) {
      JsonObject item = new JsonObject();
      item.addProperty("field", violation.field());
      item.addProperty("rule", violation.rule());
      item.addProperty("description", violation.description());
      violations.add(item);
    }
    JsonObject object = new JsonObject();
    object.addProperty("reason", error.reasonText());
    object.addProperty("sent", error.wasNotSent() ? "no" : "maybe");
    object.addProperty("vendor_code", orNull(error.vendorCode()));
    object.addProperty("http_status", orNull(error.httpStatus()));
    object.addProperty("attempts", orNull(error.attempts()));
    object.addProperty("push_id", error.pushId().orElse(""));
    object.addProperty("retry_after_s", error.retryAfter().map(delay -> delay.toNanos() / 1e9).orElse(null));
    object.add("violations", violations);
    return object;
  }

  private static Integer orNull(OptionalInt number) {
    return number.isPresent() ? number.getAsInt() : null;
  }

  private static JsonArray details(StatusRuntimeException error) {
    JsonArray names = new JsonArray();
    for (Any detail : StatusProto.fromThrowable(error).getDetailsList()) {
      names.add(detail.getTypeUrl().substring(detail.getTypeUrl().lastIndexOf('/') + 1));
    }
    return names;
  }

  private static JsonArray names(Metadata trailers) {
    JsonArray names = new JsonArray();
    if (trailers != null) {
      trailers.keys().stream().sorted().forEach(names::add);
    }
    return names;
  }
}
