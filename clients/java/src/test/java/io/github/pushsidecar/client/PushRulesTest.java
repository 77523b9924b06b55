package io.github.pushsidecar.client;

import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.protobuf.Duration;
import io.github.pushsidecar.xg.v1.AllDevices;
import io.github.pushsidecar.xg.v1.AndroidMessage;
import io.github.pushsidecar.xg.v1.PushRequest;
import org.junit.jupiter.api.Test;

/** What the contract cases cannot say: they are JSON, and JSON cannot write such a Duration. */
class PushRulesTest {
  @Test
  void durationOutsideOfItsRangeIsRefusedWithAnException() {
    PushRequest request =
        PushRequest.newBuilder()
            .setAll(AllDevices.getDefaultInstance())
            .setAndroidMessage(AndroidMessage.newBuilder().setTitle("t").setContent("c"))
            .setExpireTime(Duration.newBuilder().setSeconds(Long.MAX_VALUE).setNanos(-5))
            .build();
    assertThrows(IllegalArgumentException.class, () -> PushRules.check(request));
  }
}
