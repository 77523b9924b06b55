package io.github.pushsidecar.client;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.Context;
import io.grpc.ManagedChannelBuilder;
import io.grpc.MethodDescriptor;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.netty.channel.ChannelOption;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** The settings of every channel to a sidecar, the same as those of the helpers in other languages. */
final class ChannelDefaults {
  /** The sidecar permits pings every 20 s. */
  private static final long KEEP_ALIVE_S = 30;

  /**
   * gRPC service config. Only calls of which the sidecar promises that UNAVAILABLE before the response headers means "not
   * sent" may be repeated: the unary ones, by their names. An error of the sidecar's own says by a trailer that it is not to
   * be repeated, except where the sidecar is stopping. Numbers are doubles, as in JSON.
   */
  private static final Map<String, Object> SERVICE_CONFIG =
      Map.of(
          "methodConfig",
          List.of(
              Map.of(
                  "name", UnaryMethods.NAMES,
                  "retryPolicy",
                      Map.of(
                          "maxAttempts", 4.0,
                          "initialBackoff", "0.1s",
                          "maxBackoff", "1s",
                          "backoffMultiplier", 2.0,
                          "retryableStatusCodes", List.of("UNAVAILABLE")))));

  private ChannelDefaults() {}

  static void apply(ManagedChannelBuilder<?> builder, Duration defaultDeadline) {
    builder
        .defaultServiceConfig(SERVICE_CONFIG)
        // A policy from elsewhere could retry more than what is provably not sent.
        .disableServiceConfigLookUp()
        .enableRetry()
        // Java's proxy settings are for the network, and the sidecar is on this host.
        .proxyDetector(address -> null)
        .keepAliveTime(KEEP_ALIVE_S, TimeUnit.SECONDS)
        .keepAliveWithoutCalls(true)
        .intercept(new CallDefaults(defaultDeadline));
  }

  /** Takes back an option that gRPC sets and Netty, at each connection to a unix socket, warns that it does not know. */
  static void applyToUnixSocket(ManagedChannelBuilder<?> builder) {
    if (builder instanceof NettyChannelBuilder netty) {
      netty.withOption(ChannelOption.SO_KEEPALIVE, null);
    }
  }

  /** Gives calls a deadline where they have none, and lets them wait for the connection, whatever their method. */
  private record CallDefaults(Duration defaultDeadline) implements ClientInterceptor {
    @Override
    public <ReqT, RespT> ClientCall<ReqT, RespT> interceptCall(
        MethodDescriptor<ReqT, RespT> method, CallOptions options, Channel next) {
      // Options do not show whether a call wants to fail fast or says nothing, hence an option of our own.
      CallOptions changed =
          options.getOption(PushSidecar.WAIT_FOR_READY) ? options.withWaitForReady() : options.withoutWaitForReady();
      // The deadline of the context ends the call too, but does not show in the options.
      if (options.getDeadline() == null && Context.current().getDeadline() == null) {
        changed = changed.withDeadlineAfter(defaultDeadline);
      }
      return next.newCall(method, changed);
    }
  }
}
