package io.github.pushsidecar.client;

import io.grpc.ConnectivityState;
import io.grpc.ManagedChannel;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;

/**
 * Tries a lost connection again at short intervals.
 *
 * <p>gRPC's own waits grow to two minutes, longer than the default deadline; they are made for servers far away that many
 * clients share, and Java offers no setting for them.
 */
final class Reconnection {
  private final ManagedChannel channel;
  private final Executor later;

  private Reconnection(ManagedChannel channel, Duration interval) {
    this.channel = channel;
    // Its thread is a daemon that the JDK shares between all users.
    this.later = CompletableFuture.delayedExecutor(interval.toNanos(), TimeUnit.NANOSECONDS);
  }

  static void watch(ManagedChannel channel, Duration interval) {
    new Reconnection(channel, interval).next();
  }

  private void next() {
    ConnectivityState state = channel.getState(false);
    switch (state) {
      case SHUTDOWN -> {}
      // The state stays the same over several attempts, so no change of it would be told.
      case TRANSIENT_FAILURE -> later.execute(this::retry);
      default -> channel.notifyWhenStateChanged(state, this::next);
    }
  }

  private void retry() {
    channel.resetConnectBackoff();
    next();
  }
}
