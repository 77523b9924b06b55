package io.github.pushsidecar.client;

import io.github.pushsidecar.xg.v1.PushRequest;
import io.github.pushsidecar.xg.v1.PushResponse;
import io.github.pushsidecar.xg.v1.PushServiceGrpc;
import io.grpc.CallOptions;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/**
 * A connection to a push-sidecar, with the settings that suit it. Make one, share it between threads, close it at the end.
 *
 * <p>It owns the channel's settings. What an error means is told by {@link PushError}; the messages are generated code.
 *
 * <ul>
 *   <li>A call waits for a sidecar that is not up yet (wait-for-ready), within its deadline.
 *   <li>A call without a deadline gets one of 30 s. A deadline of the call or of its {@link io.grpc.Context} is kept.
 *   <li>A unary call that ends in UNAVAILABLE because the sidecar was stopping, or was gone, before it sent headers is retried, at
 *       most three times. That cannot push twice: the sidecar sends its headers before the first byte goes to the vendor, and a
 *       call that has received headers is never retried. What the sidecar has tried itself, it tells the library not to retry.
 *   <li>Pings keep a quiet connection alive every 30 s. A sidecar that was away is found again within a second.
 * </ul>
 */
public final class PushSidecar implements AutoCloseable {
  /** The deadline of a call that has none. */
  public static final Duration DEFAULT_DEADLINE = Duration.ofSeconds(30);

  /**
   * Whether a call waits for a sidecar that is not up yet, as it does by default: {@code
   * stub().withOption(WAIT_FOR_READY, false)}. It takes the place of gRPC's own option, whose absence cannot be seen.
   */
  public static final CallOptions.Key<Boolean> WAIT_FOR_READY =
      CallOptions.Key.createWithDefault("push-sidecar-wait-for-ready", true);

  private static final Duration RECONNECT_INTERVAL = Duration.ofSeconds(1);

  private final ManagedChannel channel;

  private PushSidecar(ManagedChannel channel) {
    this.channel = channel;
  }

  /**
   * Connects with the default settings, without TLS: the sidecar stands on the same host or in the same pod.
   *
   * @param target {@code host:port}, or {@code unix:/path} (Linux on x86-64 and ARM64)
   */
  public static PushSidecar connect(String target) {
    return builder(target).build();
  }

  /** Returns a channel with the default settings, for those who make their own stubs. They close it. */
  public static ManagedChannel channel(String target) {
    return builder(target).buildChannel();
  }

  /** Returns a builder, to change the settings. */
  public static Builder builder(String target) {
    return new Builder(target);
  }

  /**
   * Makes one push, with the default deadline.
   *
   * @throws io.grpc.StatusRuntimeException when it fails: see {@link PushError#of}
   */
  public PushResponse push(PushRequest request) {
    return stub().push(request);
  }

  /**
   * Makes one push, with a deadline.
   *
   * @throws io.grpc.StatusRuntimeException when it fails: see {@link PushError#of}
   */
  public PushResponse push(PushRequest request, Duration deadline) {
    return stub().withDeadlineAfter(deadline).push(request);
  }

  /** Returns the generated stub whose calls block. */
  public PushServiceGrpc.PushServiceBlockingStub stub() {
    return PushServiceGrpc.newBlockingStub(channel);
  }

  /** Returns the generated stub whose calls return a future. */
  public PushServiceGrpc.PushServiceFutureStub futureStub() {
    return PushServiceGrpc.newFutureStub(channel);
  }

  /** Lets the calls in flight end, for at most {@link #DEFAULT_DEADLINE}, and closes the connection. */
  @Override
  public void close() {
    channel.shutdown();
    try {
      if (channel.awaitTermination(DEFAULT_DEADLINE.toNanos(), TimeUnit.NANOSECONDS)) {
        return;
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    channel.shutdownNow();
  }

  /** The settings of a connection. */
  public static final class Builder {
    private final String target;
    private ChannelCredentials credentials = InsecureChannelCredentials.create();
    private Duration defaultDeadline = DEFAULT_DEADLINE;
    private Consumer<ManagedChannelBuilder<?>> customizer = builder -> {};

    private Builder(String target) {
      this.target = Objects.requireNonNull(target, "target");
    }

    /** Sets the credentials, for a sidecar that asks for TLS. */
    public Builder credentials(ChannelCredentials credentials) {
      this.credentials = Objects.requireNonNull(credentials, "credentials");
      return this;
    }

    /** Sets the deadline of calls that have none. */
    public Builder defaultDeadline(Duration defaultDeadline) {
      if (defaultDeadline.isNegative() || defaultDeadline.isZero()) {
        throw new IllegalArgumentException("defaultDeadline must be positive");
      }
      this.defaultDeadline = defaultDeadline;
      return this;
    }

    /** Changes the channel's builder after the settings of this class: interceptors, executors, sizes. */
    public Builder customize(Consumer<ManagedChannelBuilder<?>> customizer) {
      this.customizer = Objects.requireNonNull(customizer, "customizer");
      return this;
    }

    /** Connects. The connection itself is made in the background. */
    public PushSidecar build() {
      return new PushSidecar(buildChannel());
    }

    /** Returns the channel alone. The caller closes it. */
    public ManagedChannel buildChannel() {
      return buildChannel(RECONNECT_INTERVAL);
    }

    ManagedChannel buildChannel(Duration reconnectInterval) {
      ManagedChannelBuilder<?> builder = Grpc.newChannelBuilder(target, credentials);
      ChannelDefaults.apply(builder, defaultDeadline);
      if (target.startsWith("unix:")) {
        ChannelDefaults.applyToUnixSocket(builder);
      }
      customizer.accept(builder);
      ManagedChannel channel = builder.build();
      Reconnection.watch(channel, reconnectInterval);
      return channel;
    }
  }
}
